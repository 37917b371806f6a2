#pragma once

#include <vector>

#include "image/storage.h"
#include "image/vhdx/spec.h"

namespace vireo::image::vhdx {

/// The newer valid one of the file's two headers.
struct FileHeader {
  u64 sequence{};
  UniqueId file_write{};
  UniqueId data_write{};
  UniqueId log{};  // zeroes: the log is empty
  u64 log_offset{};
  u64 log_length{};
  bool second{};  // where it lies

  bool log_in_use() const { return log != UniqueId{}; }
};

Result<FileHeader> read_file_header(Storage const& storage);
/// Writes it to both places, one after the other, each stable before the next.
Result<> write_file_header(Storage const& storage, FileHeader& header);
std::vector<std::byte> header_bytes(FileHeader const& header);

}  // namespace vireo::image::vhdx
