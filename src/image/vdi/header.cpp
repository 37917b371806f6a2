#include "image/vdi/header.h"

#include <fmt/format.h>

#include <bit>
#include <string_view>

namespace vireo::image::vdi {
namespace {

std::unexpected<Error> corrupt(Storage const& storage, std::string_view field, u64 at, u64 value) {
  return fail(Errc::corrupt, fmt::format("{}: vdi header: {} (at offset {:#x}) is {:#x}; not an image of this "
                                         "kind, or damaged",
                                         storage.path(), field, at, value));
}

Result<> check_kind(Storage const& storage, std::byte const* data) {
  auto const found = load_le<u32>(data + header_at::signature);
  if (found != signature) return corrupt(storage, "signature", header_at::signature, found);
  auto const version = load_le<u32>(data + header_at::version);
  if (version >> 16 != 1) {
    return fail(Errc::unsupported,
                fmt::format("{}: vdi version {}.{}", storage.path(), version >> 16, version & 0xffff));
  }
  auto const type = load_le<u32>(data + header_at::image_type);
  if (type == static_cast<u32>(ImageType::undo)) {
    return fail(Errc::unsupported, fmt::format("{}: vdi undo image", storage.path()));
  }
  if (type == 0 || type > static_cast<u32>(ImageType::differencing)) {
    return corrupt(storage, "image type", header_at::image_type, type);
  }
  auto const sector_size = load_le<u32>(data + header_at::sector_size);
  if (sector_size != 512) return corrupt(storage, "sector size", header_at::sector_size, sector_size);
  return {};
}

Result<> check_numbers(Storage const& storage, Header const& header) {
  auto const file_bytes = TRY(storage.size());
  if (header.block < smallest_block || header.block > largest_block || !std::has_single_bit(header.block)) {
    return corrupt(storage, "block size", header_at::block_size, header.block);
  }
  if (header.extra > largest_extra || header.extra % 512 != 0) {
    return corrupt(storage, "extra bytes of a block", header_at::block_extra, header.extra);
  }
  if (header.blocks > most_blocks) return corrupt(storage, "blocks", header_at::blocks, header.blocks);
  if (header.bytes > u64{header.blocks} * header.block) {
    return corrupt(storage, "disk size", header_at::disk_size, header.bytes);
  }
  if (header.table_at < header_bytes || header.table_at % 512 != 0) {
    return corrupt(storage, "offset of the block table", header_at::offset_blocks, header.table_at);
  }
  auto const table_end = header.table_at + u64{header.blocks} * 4;
  if (header.data_at < table_end || header.data_at % 512 != 0 || table_end > align_up(file_bytes, 512)) {
    return corrupt(storage, "offset of the data", header_at::offset_data, header.data_at);
  }
  return {};
}

}  // namespace

Result<Header> read_header(Storage const& storage) {
  auto bytes = std::vector<std::byte>(header_bytes);
  TRY(storage.read(0, bytes));
  auto const* const data = bytes.data();
  TRY(check_kind(storage, data));
  auto header = Header{
      .type = static_cast<ImageType>(load_le<u32>(data + header_at::image_type)),
      .table_at = load_le<u32>(data + header_at::offset_blocks),
      .data_at = load_le<u32>(data + header_at::offset_data),
      .bytes = load_le<u64>(data + header_at::disk_size),
      .block = load_le<u32>(data + header_at::block_size),
      .extra = load_le<u32>(data + header_at::block_extra),
      .blocks = load_le<u32>(data + header_at::blocks),
      .allocated = load_le<u32>(data + header_at::blocks_allocated),
      .id = load_unique_id(data + header_at::image_uuid),
      .modification = load_unique_id(data + header_at::modification_uuid),
      .parent_id = load_unique_id(data + header_at::parent_uuid),
      .parent_modification = load_unique_id(data + header_at::parent_modification_uuid),
  };
  if (header.bytes > u64{most_blocks} * largest_block) {
    return corrupt(storage, "disk size", header_at::disk_size, header.bytes);
  }
  header.bytes = align_up(header.bytes, 512);  // as other tools do
  TRY(check_numbers(storage, header));
  return header;
}

std::vector<std::byte> encode_header(Header const& header) {
  constexpr auto text = std::string_view{"<<< Vireo VirtualBox Disk Image >>>\n"};
  auto bytes = std::vector<std::byte>(header_bytes);
  auto* const data = bytes.data();
  std::memcpy(data + header_at::text, text.data(), text.size());
  store_le<u32>(data + header_at::signature, signature);
  store_le<u32>(data + header_at::version, version_1_1);
  store_le<u32>(data + header_at::header_size, header_size_1_1);
  store_le<u32>(data + header_at::image_type, static_cast<u32>(header.type));
  store_le<u32>(data + header_at::offset_blocks, static_cast<u32>(header.table_at));
  store_le<u32>(data + header_at::offset_data, static_cast<u32>(header.data_at));
  store_le<u32>(data + header_at::sector_size, 512);
  store_le<u64>(data + header_at::disk_size, header.bytes);
  store_le<u32>(data + header_at::block_size, header.block);
  store_le<u32>(data + header_at::block_extra, header.extra);
  store_le<u32>(data + header_at::blocks, header.blocks);
  store_le<u32>(data + header_at::blocks_allocated, header.allocated);
  store_le(data + header_at::image_uuid, header.id);
  store_le(data + header_at::modification_uuid, header.modification);
  store_le(data + header_at::parent_uuid, header.parent_id);
  store_le(data + header_at::parent_modification_uuid, header.parent_modification);
  store_le<u32>(data + header_at::lchs_sector_size, 512);
  return bytes;
}

}  // namespace vireo::image::vdi
