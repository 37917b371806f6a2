#include "image/vdi/vdi_operations.h"

#include <fmt/format.h>

#include <algorithm>
#include <filesystem>

#include "image/create_vdi.h"
#include "image/vdi/header.h"
#include "vocab/numbers.h"

namespace vireo::image::vdi {
namespace {

Result<std::vector<u32>> read_table(Storage const& storage, Header const& header) {
  auto table = std::vector<u32>(header.blocks);
  TRY(storage.read(header.table_at, std::as_writable_bytes(std::span{table})));
  return table;
}

std::string uuid_text(UniqueId const& id) {
  return fmt::format("{:08x}-{:04x}-{:04x}-{:04x}-{:04x}{:08x}", load_le<u32>(id.data()),
                     load_le<u16>(id.data() + 4), load_le<u16>(id.data() + 6), load_be<u16>(id.data() + 8),
                     load_be<u16>(id.data() + 10), load_be<u32>(id.data() + 12));
}

/// Only what changes; the rest of the header is the maker's own.
Result<> write_numbers(Storage const& storage, Header const& header) {
  auto bytes = std::vector<std::byte>(header_bytes);
  TRY(storage.read(0, bytes));
  auto* const data = bytes.data();
  store_le<u32>(data + header_at::offset_blocks, static_cast<u32>(header.table_at));
  store_le<u32>(data + header_at::offset_data, static_cast<u32>(header.data_at));
  store_le<u64>(data + header_at::disk_size, header.bytes);
  store_le<u32>(data + header_at::blocks, header.blocks);
  store_le<u32>(data + header_at::blocks_allocated, header.allocated);
  store_le(data + header_at::modification_uuid, TRY(new_unique_id()));
  TRY(storage.write(0, bytes));
  return storage.sync();
}

/// Copies the blocks that lie in the first `count` places to the end, then points the table there.
Result<> clear_first_places(Storage const& storage, Header& header, std::vector<u32>& table, u32 count) {
  auto bytes = std::vector<std::byte>(header.stride());
  auto moved = false;
  for (auto& entry : table) {
    if (entry >= count) continue;
    TRY(storage.read(header.data_at + entry * header.stride(), bytes));
    auto const place = std::max(header.allocated, count);
    TRY(storage.write(header.data_at + place * header.stride(), bytes));
    header.allocated = place + 1;
    entry = place;
    moved = true;
  }
  if (!moved) return {};
  TRY(write_numbers(storage, header));
  TRY(storage.write(header.table_at, std::as_bytes(std::span{table})));
  return storage.sync();
}

/// A longer table takes the first places of the data, whose blocks move to the end. The header names the new
/// table and the new start of the data at once.
Result<> move_table(Storage const& storage, Header& header, std::vector<u32>& table) {
  auto const bytes = align_up(table.size() * 4, 512);
  auto const places = (bytes + header.stride() - 1) / header.stride();
  TRY(clear_first_places(storage, header, table, static_cast<u32>(places)));
  header.table_at = header.data_at;
  header.data_at += places * header.stride();
  if (header.data_at > ~u32{0}) {
    return fail(Errc::unsupported, fmt::format("{}: vdi: its table cannot grow further", storage.path()));
  }
  for (auto& entry : table) entry -= entry < entry_zero ? static_cast<u32>(places) : 0;
  header.allocated -= std::min(header.allocated, static_cast<u32>(places));
  TRY(storage.write(header.table_at, std::as_bytes(std::span{table})));
  return storage.sync();
}

/// Others count the blocks and take the count for the next place: the last ones move where there is room.
Result<> close_gaps(Storage const& storage, Header& header, std::vector<u32>& table) {
  auto const count =
      static_cast<u32>(std::ranges::count_if(table, [](u32 entry) { return entry < entry_zero; }));
  auto taken = std::vector<bool>(count);
  for (auto const entry : table) {
    if (entry < count) taken[entry] = true;
  }
  auto bytes = std::vector<std::byte>(header.stride());
  auto place = u32{0};
  for (auto& entry : table) {
    if (entry >= entry_zero || entry < count) continue;
    while (place < count && taken[place]) ++place;
    if (place == count) break;  // two blocks in one place: check's affair
    TRY(storage.read(header.data_at + entry * header.stride(), bytes));
    TRY(storage.write(header.data_at + place * header.stride(), bytes));
    entry = place;
    taken[place] = true;
  }
  TRY(storage.sync());
  TRY(storage.write(header.table_at, std::as_bytes(std::span{table})));
  TRY(storage.sync());
  header.allocated = count;
  TRY(write_numbers(storage, header));
  return storage.can_grow() ? storage.truncate(header.data_at + count * header.stride()) : Result<>{};
}

}  // namespace

Result<> create(CreateRequest const& request) {
  auto options = OptionReader{request};
  auto const fixed = TRY(options.flag("static", request.preallocation != Preallocation::off));
  auto const block = TRY(options.size("block_size", 1 * MiB));
  TRY(options.finish());
  auto const folder = std::filesystem::path{request.path}.parent_path();
  auto const parent = request.backing.path.empty() ? std::string{} : (folder / request.backing.path).string();
  return create_vdi(
      request.path, request.bytes,
      {.fixed = fixed, .parent = parent, .block_bytes = static_cast<u32>(std::min(block, 1 * GiB))});
}

Result<Description> describe(Storage const& storage) {
  auto const header = TRY(read_header(storage));
  auto description = Description{.bytes = header.bytes, .cluster = header.block};
  description.fixed = header.type == ImageType::fixed;
  if (header.type == ImageType::differencing) {
    description.backing_file = uuid_text(header.parent_id);
    description.backing_format = "vdi";
  }
  return description;
}

Result<std::string> parent_of(Storage const& storage) {
  auto const header = TRY(read_header(storage));
  return find_parent(storage.path(), header.parent_id);
}

Result<CheckReport> check(Storage const& storage, Repair repair) {
  auto const header = TRY(read_header(storage));
  auto table = TRY(read_table(storage, header));
  auto placement = Placement{.first = header.data_at,
                             .end = std::max(header.data_at, TRY(storage.size())),
                             .unit = header.block,
                             .total = header.blocks};
  for (auto number = u64{0}; number < table.size(); ++number) {
    if (table[number] >= entry_zero) continue;
    placement.blocks.push_back({number, header.data_at + table[number] * header.stride(), header.stride()});
  }
  // The last block may end behind a file that was cut to its data.
  placement.end = header.data_at + align_up(placement.end - header.data_at, header.stride());
  placement.clear = [&](u64 number) {
    return storage.write(header.table_at + number * 4, std::vector<std::byte>(4, std::byte{0xff}));
  };
  auto report = TRY(check_placement(storage, std::move(placement), repair));
  auto const highest = header.data_at + header.allocated * header.stride();
  if (report.end <= highest) return report;
  report.corruption(fmt::format("the header counts {} blocks, but blocks lie behind them", header.allocated));
  if (repair != Repair::all) return report;
  auto mended = header;
  mended.allocated = static_cast<u32>((report.end - header.data_at + header.stride() - 1) / header.stride());
  TRY(write_numbers(storage, mended));
  ++report.corruptions_fixed;
  return report;
}

Result<> resize(Storage const& storage, u64 bytes) {
  auto header = TRY(read_header(storage));
  auto const blocks = (bytes + header.block - 1) / header.block;
  if (blocks == 0 || blocks > most_blocks) {
    return fail(Errc::invalid, fmt::format("{}: vdi: {} bytes make {} blocks, {} are the most", storage.path(),
                                           bytes, blocks, most_blocks));
  }
  auto table = TRY(read_table(storage, header));
  auto const before = table.size();
  table.resize(blocks, entry_absent);
  header.bytes = bytes;
  if (blocks < before) {  // first the header: behind its count nobody looks
    header.blocks = static_cast<u32>(blocks);
    TRY(write_numbers(storage, header));
    return close_gaps(storage, header, table);
  }
  if (header.table_at + blocks * 4 > header.data_at) {
    TRY(move_table(storage, header, table));
  } else {
    auto const fresh = std::span{table}.subspan(before);
    TRY(storage.write(header.table_at + before * 4, std::as_bytes(fresh)));
    TRY(storage.sync());
  }
  header.blocks = static_cast<u32>(blocks);
  return write_numbers(storage, header);
}

}  // namespace vireo::image::vdi
