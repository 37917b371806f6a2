#pragma once

#include <functional>
#include <string>
#include <vector>

#include "host/file.h"

namespace vireo::image::appliance {

/// A plain file of a tar.
struct TarMember {
  std::string name;
  u64 at{};  // of its first byte
  u64 bytes{};
};
using ReadAt = std::function<Result<>(u64 at, Bytes into)>;
/// POSIX ustar, and GNU's and pax's long names and sizes. Names lead to no other folder, and none comes twice;
/// links and devices are refused, folders skipped. At most 1024 members.
Result<std::vector<TarMember>> read_tar(ReadAt const& read, u64 bytes);
/// Whether a name is one of a plain file beside others: no folder, nothing hidden from who looks.
bool is_plain_name(std::string_view name);

class TarWriter {
 public:
  /// Of a new file, which must not exist.
  static Result<TarWriter> create(std::string const& path);
  /// A member's head; as many bytes must follow.
  Result<> begin(std::string const& name, u64 bytes);
  Result<> add(ConstBytes part);
  /// The end, on stable storage.
  Result<> finish();

 private:
  explicit TarWriter(host::File file) : file_{std::move(file)} {}
  host::File file_;
  u64 at_{};
  u64 left_{};
};

}  // namespace vireo::image::appliance
