#pragma once

#include <utility>

#include "host/file.h"

namespace vireo::host {

/// A file's content as memory, for reading without copies. For files that nobody else writes to: when one gets
/// shorter, or its disk fails, after populated() has looked, the process ends with a message and status 1.
class FileView {
 public:
  /// Errc::unsupported where the file is no regular one, or empty.
  static Result<FileView> create(File const& file);
  FileView(FileView&& other) noexcept : bytes_{std::exchange(other.bytes_, {})} {}
  FileView& operator=(FileView&& other) noexcept {
    std::swap(bytes_, other.bytes_);
    return *this;
  }
  ~FileView();

  /// The part of the range that lies in the file, brought into memory; empty when that fails: read() tells why.
  ConstBytes populated(u64 at, u64 length) const;

 private:
  explicit FileView(Bytes bytes) : bytes_{bytes} {}
  Bytes bytes_;
};

}  // namespace vireo::host
