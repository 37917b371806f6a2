#include "image/vhdx/file_header.h"

#include <fmt/format.h>

#include <optional>

#include "image/vhdx/crc32c.h"

namespace vireo::image::vhdx {
namespace {

Result<std::optional<FileHeader>> read_one(Storage const& storage, u64 at) {
  using namespace header_at;
  auto bytes = std::vector<std::byte>(length);
  TRY(storage.read(at, bytes));
  auto const* const data = bytes.data();
  if (load_le<u32>(data) != signature_value || load_le<u32>(data + checksum) != crc32c(bytes, checksum)) {
    return std::optional<FileHeader>{};
  }
  if (auto const number = load_le<u16>(data + version); number != 1) {
    return fail(Errc::unsupported,
                fmt::format("{}: VHDX header at offset {:#x}: version {}", storage.path(), at, number));
  }
  auto header = FileHeader{.sequence = load_le<u64>(data + sequence),
                           .file_write = load_unique_id(data + file_write),
                           .data_write = load_unique_id(data + data_write),
                           .log = load_unique_id(data + log),
                           .log_offset = load_le<u64>(data + log_offset),
                           .log_length = load_le<u32>(data + log_length),
                           .second = at == second_header};
  if (header.log_in_use() && load_le<u16>(data + log_version) != 0) {
    return fail(Errc::unsupported, fmt::format("{}: VHDX header at offset {:#x}: log version {}",
                                               storage.path(), at, load_le<u16>(data + log_version)));
  }
  if (header.log_offset % MiB != 0 || header.log_offset < header_section || header.log_offset > largest_file ||
      header.log_length % MiB != 0 || header.log_length == 0) {
    return fail(Errc::corrupt, fmt::format("{}: VHDX header at offset {:#x}: a log of {} bytes at offset {:#x}",
                                           storage.path(), at, header.log_length, header.log_offset));
  }
  return header;
}

}  // namespace

Result<FileHeader> read_file_header(Storage const& storage) {
  auto bytes = std::vector<std::byte>(8);
  TRY(storage.read(0, bytes));
  if (load_le<u64>(bytes.data()) != file_signature) {
    return fail(Errc::corrupt, fmt::format("{}: VHDX: no signature at offset 0", storage.path()));
  }
  auto const first = TRY(read_one(storage, first_header));
  auto const second = TRY(read_one(storage, second_header));
  if (!first && !second) {
    return fail(Errc::corrupt,
                fmt::format("{}: VHDX: neither of the headers at offsets {:#x} and {:#x} is valid",
                            storage.path(), first_header, second_header));
  }
  if (!first || !second) return first ? *first : *second;
  return first->sequence > second->sequence ? *first : *second;
}

std::vector<std::byte> header_bytes(FileHeader const& header) {
  using namespace header_at;
  auto bytes = std::vector<std::byte>(length);
  auto* const data = bytes.data();
  store_le<u32>(data, signature_value);
  store_le<u64>(data + sequence, header.sequence);
  std::memcpy(data + file_write, header.file_write.data(), 16);
  std::memcpy(data + data_write, header.data_write.data(), 16);
  std::memcpy(data + log, header.log.data(), 16);
  store_le<u16>(data + version, 1);
  store_le<u32>(data + log_length, static_cast<u32>(header.log_length));
  store_le<u64>(data + log_offset, header.log_offset);
  store_le<u32>(data + checksum, crc32c(bytes, checksum));
  return bytes;
}

Result<> write_file_header(Storage const& storage, FileHeader& header) {
  for (auto round = 0; round < 2; ++round) {
    header.second = !header.second;
    ++header.sequence;
    TRY(storage.write(header.second ? second_header : first_header, header_bytes(header)));
    TRY(storage.sync());
  }
  return {};
}

}  // namespace vireo::image::vhdx
