#include "image/create_vhdx.h"

#include <fmt/format.h>

#include <algorithm>
#include <bit>
#include <filesystem>

#include "image/open_image.h"
#include "image/vhdx/crc32c.h"
#include "image/vhdx/file_header.h"
#include "image/vhdx/structure.h"

namespace vireo::image {
namespace {

using namespace vhdx;  // NOLINT: the format's own vocabulary

constexpr u64 log_offset{1 * MiB}, log_length{1 * MiB}, metadata_offset{2 * MiB}, metadata_length{1 * MiB},
    bat_offset{3 * MiB};
constexpr u32 physical_sector{4096};

using Buffer = std::vector<std::byte>;

void put_id(std::byte* to, UniqueId const& id) { std::memcpy(to, id.data(), id.size()); }

Buffer file_identifier() {
  auto bytes = Buffer(creator_at + creator_bytes);
  store_le<u64>(bytes.data(), file_signature);
  std::ranges::copy(to_utf16("Vireo"), bytes.begin() + creator_at);
  return bytes;
}

Buffer region_table(u64 bat_length) {
  using namespace region_at;
  auto bytes = Buffer(length);
  store_le<u32>(bytes.data(), signature_value);
  store_le<u32>(bytes.data() + count, 2);
  auto const put = [&](u64 index, UniqueId const& id, u64 offset, u64 bytes_long) {
    auto* const entry = bytes.data() + entries + index * entry_bytes;
    put_id(entry, id);
    store_le<u64>(entry + entry_offset, offset);
    store_le<u32>(entry + entry_length, static_cast<u32>(bytes_long));
    store_le<u32>(entry + entry_required, 1);
  };
  put(0, bat_region, bat_offset, bat_length);
  put(1, metadata_region, metadata_offset, metadata_length);
  store_le<u32>(bytes.data() + checksum, crc32c(bytes, checksum));
  return bytes;
}

Buffer number(u64 value, std::size_t bytes_long) {
  auto bytes = Buffer(8);
  store_le<u64>(bytes.data(), value);
  bytes.resize(bytes_long);
  return bytes;
}

Result<Buffer> metadata(DiskInfo const& info, ParentReference const& parent) {
  using namespace metadata_at;
  auto bytes = Buffer(table_bytes);
  store_le<u64>(bytes.data(), signature_value);
  auto entry_count = u16{0};
  auto const put = [&](UniqueId const& id, u32 flags, Buffer const& content) {
    auto* const entry = bytes.data() + entries + entry_count * entry_bytes;
    put_id(entry, id);
    store_le<u32>(entry + entry_offset, static_cast<u32>(bytes.size()));
    store_le<u32>(entry + entry_length, static_cast<u32>(content.size()));
    store_le<u32>(entry + entry_flags, flags);
    bytes.insert(bytes.end(), content.begin(), content.end());
    bytes.resize(align_up(bytes.size(), 8));
    ++entry_count;
  };
  auto const flags =
      (info.leaves_blocks_allocated ? leave_blocks_allocated : 0) | (info.has_parent ? has_parent : 0);
  auto const page_83 = TRY(new_unique_id());
  put(item::file_parameters, is_required, number(info.block | u64{flags} << 32, 8));
  put(item::disk_size, is_virtual_disk | is_required, number(info.bytes, 8));
  put(item::page_83, is_virtual_disk | is_required, {page_83.begin(), page_83.end()});
  put(item::logical_sector, is_virtual_disk | is_required, number(info.logical_sector, 4));
  put(item::physical_sector, is_virtual_disk | is_required, number(physical_sector, 4));
  if (info.has_parent) put(item::parent_locator, is_required, locator_bytes(parent));
  store_le<u16>(bytes.data() + count, entry_count);
  return bytes;
}

/// All blocks in a row behind the table.
Buffer full_bat(DiskInfo const& info, u64 first_block) {
  auto bytes = Buffer(info.bat_entries() * 8);
  for (auto block = u64{0}; block < info.blocks(); ++block) {
    auto const entry = first_block + block * info.block;
    store_le<u64>(bytes.data() + (block + block / info.chunk_ratio()) * 8,
                  entry | static_cast<u64>(PayloadState::fully_present));
  }
  return bytes;
}

Result<> write_image(Storage const& file, DiskInfo const& info, ParentReference const& parent) {
  auto const bat_length = align_up(info.bat_entries() * 8, MiB);
  auto const first_block = bat_offset + bat_length;
  auto const items = TRY(metadata(info, parent));
  if (items.size() > metadata_length)
    return fail(Errc::invalid, file.path() + ": the parent's path is too long");
  auto header = FileHeader{.file_write = TRY(new_unique_id()),
                           .data_write = TRY(new_unique_id()),
                           .log_offset = log_offset,
                           .log_length = log_length};
  TRY(file.truncate(first_block + (info.leaves_blocks_allocated ? info.blocks() * info.block : 0)));
  if (info.leaves_blocks_allocated) TRY(file.write(bat_offset, full_bat(info, first_block)));
  TRY(file.write(metadata_offset, items));
  for (auto const at : {first_region_table, second_region_table}) TRY(file.write(at, region_table(bat_length)));
  for (auto const at : {first_header, second_header}) {
    ++header.sequence;
    TRY(file.write(at, header_bytes(header)));
  }
  TRY(file.write(0, file_identifier()));
  return file.sync();
}

}  // namespace

Result<> create_vhdx(std::string const& path, u64 size, VhdxOptions const& options) {
  auto info = DiskInfo{.block = options.block,
                       .logical_sector = options.logical_sector,
                       .leaves_blocks_allocated = options.fixed,
                       .has_parent = !options.parent.empty()};
  auto parent = ParentReference{.path = options.parent};
  if (info.has_parent) {
    if (options.fixed) return fail(Errc::invalid, fmt::format("{}: a fixed VHDX has no parent", path));
    auto const name = (std::filesystem::path{path}.parent_path() / options.parent).string();
    auto const image = TRY(open_image(name, {.format = "vhdx", .read_only = true, .follow_references = true}));
    auto const storage = TRY(Storage::open(name, false, CacheMode::writeback));
    parent.data_write = TRY(read_file_header(storage)).data_write;
    info.logical_sector = image->geometry().sector;
    if (size == 0) size = image->geometry().bytes;
  }
  if (info.logical_sector != 512 && info.logical_sector != 4096) {
    return fail(Errc::invalid, fmt::format("{}: a sector of {} bytes; 512 or 4096", path, info.logical_sector));
  }
  if (!std::has_single_bit(info.block) || info.block < smallest_block || info.block > largest_block) {
    return fail(Errc::invalid,
                fmt::format("{}: a block of {} bytes; a power of two from 1 MiB to 256 MiB", path, info.block));
  }
  if (size == 0 || size > largest_disk) {
    return fail(Errc::invalid,
                fmt::format("{}: a disk of {} bytes; at least 1, at most {}", path, size, largest_disk));
  }
  info.bytes = align_up(size, info.logical_sector);
  auto const file = TRY(Storage::create(path));
  auto const written = write_image(file, info, parent);
  if (!written) Storage::remove(path);
  return written;
}

}  // namespace vireo::image
