#include "image/vhd/vhd_operations.h"

#include <fmt/format.h>

#include <filesystem>

#include "image/create_vhd.h"
#include "image/vhd/dynamic_header.h"
#include "image/vhd/footer.h"
#include "vocab/numbers.h"

namespace vireo::image::vhd {
namespace {

Result<std::vector<u32>> read_table(Storage const& storage, DynamicHeader const& header) {
  auto table = std::vector<u32>(header.entries);
  TRY(storage.read(header.table_at, std::as_writable_bytes(std::span{table})));
  for (auto& entry : table) entry = load_be<u32>(&entry);
  return table;
}

std::vector<std::byte> encode_table(std::vector<u32> const& table) {
  auto bytes = std::vector<std::byte>(align_up(table.size() * 4, 512), std::byte{0xff});
  for (auto index = std::size_t{0}; index < table.size(); ++index) {
    store_be<u32>(bytes.data() + index * 4, table[index]);
  }
  return bytes;
}

/// The maker's own, with another size; by the creator readers know that the size counts.
std::vector<std::byte> resized(Footer const& footer, u64 bytes) {
  auto raw = footer.raw;
  auto* const data = raw.data();
  auto const geometry = geometry_of(bytes / 512);
  store_be<u64>(data + footer_at::current_size, bytes);
  store_be<u16>(data + footer_at::cylinders, geometry.cylinders);
  store_be<u8>(data + footer_at::heads, geometry.heads);
  store_be<u8>(data + footer_at::sectors_per_track, geometry.sectors_per_track);
  std::memcpy(data + footer_at::creator, creator_by_size.data(), creator_by_size.size());
  store_be<u32>(data + footer_at::checksum, 0);
  store_be<u32>(data + footer_at::checksum, checksum_of(raw, footer_at::checksum));
  return raw;
}

Result<> patch_header(Storage const& storage, Footer const& footer, u64 table_at, u64 entries) {
  auto bytes = std::vector<std::byte>(dynamic_bytes);
  TRY(storage.read(footer.data_offset, bytes));
  auto* const data = bytes.data();
  store_be<u64>(data + dynamic_at::table_offset, table_at);
  store_be<u32>(data + dynamic_at::max_table_entries, static_cast<u32>(entries));
  store_be<u32>(data + dynamic_at::checksum, 0);
  store_be<u32>(data + dynamic_at::checksum, checksum_of(bytes, dynamic_at::checksum));
  TRY(storage.write(footer.data_offset, bytes));
  return storage.sync();
}

Result<> resize_fixed(Storage const& storage, Footer const& footer, u64 bytes) {
  auto const changed = resized(footer, bytes);
  if (bytes > footer.bytes) {  // the old footer becomes the guest's zeroes when the new one is there
    TRY(storage.write(bytes, changed));
    TRY(storage.sync());
    TRY(storage.write(footer.bytes, std::vector<std::byte>(std::min(footer_bytes, bytes - footer.bytes))));
    return storage.sync();
  }
  TRY(storage.write(bytes, changed));
  TRY(storage.sync());
  TRY(storage.truncate(bytes + footer_bytes));
  return storage.sync();
}

u64 end_of_use(Footer const& footer, DynamicHeader const& header, std::vector<u32> const& table) {
  auto end = std::max(footer.data_offset + dynamic_bytes, header.table_at + align_up(table.size() * 4, 512));
  for (auto const& locator : header.locators) end = std::max(end, align_up(locator.at + locator.length, 512));
  for (auto const entry : table) {
    if (entry != entry_absent) end = std::max(end, u64{entry} * 512 + header.bitmap_bytes() + header.block);
  }
  return end;
}

Result<> write_footers(Storage const& storage, Footer const& footer, u64 bytes, u64 end) {
  auto const changed = resized(footer, bytes);
  TRY(storage.write(end, changed));
  if (TRY(storage.size()) > end + footer_bytes) TRY(storage.truncate(end + footer_bytes));
  TRY(storage.sync());
  TRY(storage.write(0, changed));
  return storage.sync();
}

}  // namespace

Result<> create(CreateRequest const& request) {
  auto options = OptionReader{request};
  auto const kind =
      options.text("subformat", request.preallocation != Preallocation::off ? "fixed" : "dynamic");
  auto const block = TRY(options.size("block_size", 2 * MiB));
  static_cast<void>(TRY(options.flag("force_size", true)));
  TRY(options.finish());
  if (kind != "fixed" && kind != "dynamic") {
    return fail(Errc::invalid, fmt::format("subformat '{}': dynamic or fixed", kind));
  }
  auto const folder = std::filesystem::path{request.path}.parent_path();
  auto const parent = request.backing.path.empty() ? std::string{} : (folder / request.backing.path).string();
  return create_vhd(
      request.path, request.bytes,
      {.fixed = kind == "fixed", .parent = parent, .block_bytes = static_cast<u32>(std::min(block, 1 * GiB))});
}

Result<Description> describe(Storage const& storage) {
  auto const footer = TRY(read_footer(storage));
  auto description = Description{.bytes = footer.bytes, .flat = footer.type == DiskType::fixed};
  if (description.flat) return description;
  auto const header = TRY(read_dynamic_header(storage, footer));
  description.cluster = header.block;
  if (footer.type == DiskType::differencing) {
    description.backing_file = header.parent_name;
    description.backing_format = "vhd";
  }
  return description;
}

Result<std::string> parent_of(Storage const& storage) {
  auto const footer = TRY(read_footer(storage));
  return find_parent(storage, TRY(read_dynamic_header(storage, footer)));
}

Result<CheckReport> check(Storage const& storage, Repair repair) {
  auto const footer = TRY(read_footer(storage));
  auto const file_bytes = TRY(storage.size());
  if (footer.type == DiskType::fixed) {
    auto report = CheckReport{};
    report.total = report.allocated = footer.bytes / 512;
    report.end = file_bytes;
    return report;
  }
  auto const header = TRY(read_dynamic_header(storage, footer));
  auto const table = TRY(read_table(storage, header));
  auto const end = footer.at_end ? align_down(file_bytes - footer_bytes, 512) : align_up(file_bytes, 512);
  auto const table_bytes = align_up(table.size() * 4, 512);
  auto placement = Placement{.metadata = {{0, 0, footer_bytes},
                                          {0, footer.data_offset, dynamic_bytes},
                                          {0, header.table_at, table_bytes}},
                             .end = end,
                             .unit = align_up(header.bitmap_bytes(), 4096) + header.block,
                             .total = (footer.bytes + header.block - 1) / header.block};
  for (auto const& locator : header.locators) {
    placement.metadata.push_back({0, locator.at, align_up(locator.length, 512)});
  }
  for (auto number = u64{0}; number < table.size(); ++number) {
    if (table[number] == entry_absent) continue;
    placement.blocks.push_back({number, u64{table[number]} * 512, header.bitmap_bytes() + header.block});
  }
  placement.clear = [&](u64 number) {
    return storage.write(header.table_at + number * 4, std::vector<std::byte>(4, std::byte{0xff}));
  };
  auto report = TRY(check_placement(storage, std::move(placement), repair));
  if (footer.at_end) return report;
  report.stale("the footer at the end is gone; its copy at the start is used");
  if (repair == Repair::none) return report;
  TRY(storage.write(std::max(end, report.end), footer.raw));
  TRY(storage.sync());
  ++report.leaks_fixed;
  return report;
}

Result<> resize(Storage const& storage, u64 bytes) {
  auto const footer = TRY(read_footer(storage));
  if (bytes == 0 || bytes > largest_disk) {
    return fail(Errc::invalid, fmt::format("{}: vhd: {} bytes; at least 512, at most {}", storage.path(), bytes,
                                           largest_disk));
  }
  if (footer.type == DiskType::fixed) return resize_fixed(storage, footer, bytes);
  auto const header = TRY(read_dynamic_header(storage, footer));
  auto table = TRY(read_table(storage, header));
  auto const entries = (bytes + header.block - 1) / header.block;
  if (bytes < footer.bytes) {  // blocks behind the end are no longer looked at once the footers say so
    for (auto number = entries; number < table.size(); ++number) table[number] = entry_absent;
    TRY(write_footers(storage, footer, bytes, end_of_use(footer, header, table)));
    TRY(storage.write(header.table_at, encode_table(table)));
    return storage.sync();
  }
  auto end = end_of_use(footer, header, table);
  if (entries > table.size()) {
    table.resize(entries, entry_absent);
    auto const room = align_up(u64{header.entries} * 4, 512);
    auto const fits = entries * 4 <= room;
    auto const table_at = fits ? header.table_at : align_up(end, 4096);
    auto const encoded = encode_table(table);
    if (!fits) end = table_at + encoded.size();
    if (!fits) TRY(storage.write(end, footer.raw));
    TRY(storage.write(table_at, encoded));
    TRY(storage.sync());
    TRY(patch_header(storage, footer, table_at, entries));
    if (!fits) TRY(storage.discard(header.table_at, room));
  }
  return write_footers(storage, footer, bytes, end);
}

}  // namespace vireo::image::vhd
