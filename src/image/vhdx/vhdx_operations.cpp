#include "image/vhdx/vhdx_operations.h"

#include <fmt/format.h>

#include "image/create_vhdx.h"
#include "image/vhdx/crc32c.h"
#include "image/vhdx/log_replay.h"
#include "image/vhdx/spec.h"
#include "image/vhdx/vhdx_format.h"
#include "vocab/numbers.h"

namespace vireo::image::vhdx {
namespace {

/// A VHDX file's tables, its log replayed.
struct Tables {
  Storage const& storage;
  FileHeader header{};
  PatchedFile file;
  Regions regions{};
  DiskInfo info{};

  static Result<Tables> open(Storage const& storage) {
    auto tables = Tables{.storage = storage, .file = PatchedFile{storage}};
    tables.header = TRY(read_file_header(storage));
    TRY(replay_log(storage, tables.header, tables.file));
    tables.regions = TRY(read_regions(tables.file, {tables.header.log_offset, tables.header.log_length}));
    tables.info = TRY(read_disk_info(tables.file, tables.regions.metadata));
    if (tables.info.bat_entries() <= tables.regions.bat.length / 8) return tables;
    return fail(Errc::corrupt, fmt::format("{}: VHDX: a block allocation table of {} bytes at offset {:#x}; {} "
                                           "entries are needed",
                                           storage.path(), tables.regions.bat.length, tables.regions.bat.offset,
                                           tables.info.bat_entries()));
  }

  Result<std::vector<u64>> bat() const {
    auto entries = std::vector<u64>(info.bat_entries());
    TRY(file.read(regions.bat.offset, std::as_writable_bytes(std::span{entries})));
    return entries;
  }
  /// 2.2.2.1: before the first change.
  Result<> announce() {
    header.file_write = TRY(new_unique_id());
    header.data_write = TRY(new_unique_id());
    return write_file_header(storage, header);
  }
  bool is_bitmap(u64 entry) const {
    auto const row = info.chunk_ratio() + 1;
    return entry % row == info.chunk_ratio();
  }

  Result<> write_size(u64 bytes) const {
    auto number = std::vector<std::byte>(8);
    store_le<u64>(number.data(), bytes);
    TRY(storage.write(info.size_at, number));
    return storage.sync();
  }

  /// Both region tables, one after the other, so that one of them is whole at any time.
  Result<> write_bat_region(Region const& bat) const {
    for (auto const at : {first_region_table, second_region_table}) {
      auto table = std::vector<std::byte>(region_at::length);
      TRY(storage.read(first_region_table, table));
      auto const valid = [&] {
        return load_le<u32>(table.data()) == region_at::signature_value &&
               load_le<u32>(table.data() + region_at::checksum) == crc32c(table, region_at::checksum);
      };
      if (!valid()) TRY(storage.read(second_region_table, table));
      auto const count = std::min(load_le<u32>(table.data() + region_at::count), region_at::most_entries);
      for (auto index = u64{0}; index < count; ++index) {
        auto* const entry = table.data() + region_at::entries + index * region_at::entry_bytes;
        if (load_unique_id(entry) != bat_region) continue;
        store_le<u64>(entry + region_at::entry_offset, bat.offset);
        store_le<u32>(entry + region_at::entry_length, static_cast<u32>(bat.length));
      }
      store_le<u32>(table.data() + region_at::checksum, crc32c(table, region_at::checksum));
      TRY(storage.write(at, table));
      TRY(storage.sync());
    }
    return {};
  }
};

}  // namespace

Result<> create(CreateRequest const& request) {
  auto options = OptionReader{request};
  auto const kind =
      options.text("subformat", request.preallocation != Preallocation::off ? "fixed" : "dynamic");
  auto const block = TRY(options.size("block_size", 2 * MiB));
  auto const sector = TRY(options.size("logical_sector_size", 512));
  static_cast<void>(TRY(options.size("log_size", 1 * MiB)));
  static_cast<void>(TRY(options.flag("block_state_zero", true)));
  TRY(options.finish());
  if (kind != "fixed" && kind != "dynamic") {
    return fail(Errc::invalid, fmt::format("subformat '{}': dynamic or fixed", kind));
  }
  return create_vhdx(request.path, request.bytes,
                     {.fixed = kind == "fixed",
                      .parent = request.backing.path,
                      .block = block == 0 ? 2 * MiB : block,
                      .logical_sector = static_cast<u32>(std::min(sector, 1 * MiB))});
}

Result<Description> describe(Storage const& storage) {
  auto const tables = TRY(Tables::open(storage));
  auto description = Description{.bytes = tables.info.bytes, .cluster = tables.info.block};
  description.fixed = tables.info.leaves_blocks_allocated;
  if (tables.info.has_parent) {
    description.backing_file = parent_path(storage, tables.info).value_or("?");
    description.backing_format = "vhdx";
  }
  return description;
}

Result<std::string> parent_of(Storage const& storage) {
  auto const tables = TRY(Tables::open(storage));
  if (auto const path = parent_path(storage, tables.info)) return *path;
  return fail(Errc::not_found,
              fmt::format("{}: VHDX: its parent locator holds no path that is usable here", storage.path()));
}

Result<CheckReport> check(Storage const& storage, Repair repair) {
  auto tables = TRY(Tables::open(storage));
  auto const& info = tables.info;
  auto const bat = TRY(tables.bat());
  auto announced = false;
  auto placement = Placement{.metadata = {{0, 0, header_section},
                                          {0, tables.header.log_offset, tables.header.log_length},
                                          {0, tables.regions.bat.offset, tables.regions.bat.length},
                                          {0, tables.regions.metadata.offset, tables.regions.metadata.length}},
                             .first = header_section,
                             .end = align_up(TRY(storage.size()), MiB),
                             .unit = info.block,
                             .total = info.blocks()};
  for (auto index = u64{0}; index < bat.size(); ++index) {
    auto const state = bat[index] & bat_entry::state_mask;
    auto const bitmap = tables.is_bitmap(index);
    if (bitmap ? state != bat_entry::bitmap_present : state < static_cast<u64>(PayloadState::fully_present)) {
      continue;
    }
    placement.blocks.push_back(
        {index, bat[index] & bat_entry::offset_mask, bitmap ? bitmap_block : info.block});
  }
  placement.clear = [&](u64 number) -> Result<> {
    if (!announced) TRY(tables.announce());
    announced = true;
    return storage.write(tables.regions.bat.offset + number * 8, std::vector<std::byte>(8));
  };
  auto report = TRY(check_placement(storage, std::move(placement), repair));
  return report;
}

Result<> resize(Storage const& storage, u64 bytes) {
  auto tables = TRY(Tables::open(storage));
  auto& info = tables.info;
  bytes = align_up(bytes, info.logical_sector);
  if (bytes == 0 || bytes > largest_disk) {
    return fail(Errc::invalid,
                fmt::format("{}: VHDX: {} bytes; at least 1, at most {}", storage.path(), bytes, largest_disk));
  }
  auto bat = TRY(tables.bat());
  auto resized = info;
  resized.bytes = bytes;
  auto const entries = resized.bat_entries();
  TRY(tables.announce());
  auto const zeroes = [&](u64 from, u64 to) {
    return storage.write(tables.regions.bat.offset + from * 8, std::vector<std::byte>((to - from) * 8));
  };
  if (entries <= bat.size()) {  // behind the size nobody looks at the table
    if (bytes < info.bytes) TRY(tables.write_size(bytes));
    if (entries < bat.size()) TRY(zeroes(entries, bat.size()));
    TRY(storage.sync());
    return tables.write_size(bytes);
  }
  if (entries <= tables.regions.bat.length / 8) {
    TRY(zeroes(bat.size(), entries));
    TRY(storage.sync());
    return tables.write_size(bytes);
  }
  auto const old = tables.regions.bat;
  auto const region = Region{align_up(TRY(storage.size()), MiB), align_up(entries * 8, MiB)};
  TRY(storage.truncate(region.end()));
  TRY(storage.write(region.offset, std::as_bytes(std::span{bat})));
  TRY(storage.sync());
  TRY(tables.write_bat_region(region));
  TRY(tables.write_size(bytes));
  return storage.discard(old.offset, old.length);
}

}  // namespace vireo::image::vhdx
