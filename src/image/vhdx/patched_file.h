#pragma once

#include <map>
#include <vector>

#include "image/storage.h"
#include "image/vhdx/spec.h"

namespace vireo::image::vhdx {

/// The file as it is once its log is replayed: for those who may not write to it.
class PatchedFile {
 public:
  explicit PatchedFile(Storage const& storage) : storage_{&storage} {}

  Result<> read(u64 at, Bytes into) const;
  /// 4 KiB at a multiple of that.
  void put(u64 at, std::vector<std::byte> sector) { sectors_[at] = std::move(sector); }
  std::size_t sectors() const { return sectors_.size(); }
  /// Something in the range differs from the file.
  bool touches(u64 at, u64 length) const;
  Storage const& storage() const { return *storage_; }

 private:
  Storage const* storage_;
  std::map<u64, std::vector<std::byte>> sectors_;
};

}  // namespace vireo::image::vhdx
