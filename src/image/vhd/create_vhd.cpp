#include "image/create_vhd.h"

#include <fmt/format.h>

#include <algorithm>
#include <bit>

#include "image/vhd/dynamic_header.h"

namespace vireo::image {
namespace {

using namespace vhd;  // NOLINT: the format's own vocabulary

constexpr u64 locators_at{footer_bytes + dynamic_bytes};
constexpr u64 table_alignment{4096};
constexpr u64 table_chunk{64 * KiB};

Result<> write_sparse(Storage const& file, Footer const& footer, ParentReference parent, u32 block) {
  auto& header = parent.header;
  header.block = block;
  header.entries = static_cast<u32>(align_up(footer.bytes, block) / block);
  header.table_at = align_up(locators_at + parent.locator_data.size(), table_alignment);
  auto const end = align_up(header.table_at + u64{header.entries} * 4, 512);
  auto const absent = std::vector<std::byte>(table_chunk, std::byte{0xff});
  for (auto at = header.table_at; at < end; at += table_chunk) {
    TRY(file.write(at, ConstBytes{absent}.first(std::min(table_chunk, end - at))));
  }
  auto const encoded = encode_footer(footer);
  TRY(file.write(end, encoded));
  TRY(file.write(locators_at, parent.locator_data));
  TRY(file.write(footer.data_offset, encode_dynamic_header(header)));
  TRY(file.sync());
  TRY(file.write(0, encoded));
  return file.sync();
}

Result<> write_fixed(Storage const& file, Footer const& footer) {
  TRY(file.truncate(footer.bytes));
  TRY(file.write(footer.bytes, encode_footer(footer)));
  return file.sync();
}

}  // namespace

Result<> create_vhd(std::string const& path, u64 size, VhdOptions const& options) {
  if (options.block_bytes < 4096 || options.block_bytes > largest_block ||
      !std::has_single_bit(options.block_bytes)) {
    return fail(Errc::invalid, fmt::format("{}: a block of {} bytes is no power of two from 4 KiB to 64 MiB",
                                           path, options.block_bytes));
  }
  if (options.fixed && !options.parent.empty()) {
    return fail(Errc::invalid, fmt::format("{}: a fixed image has no parent", path));
  }
  auto footer = Footer{.type = options.fixed ? DiskType::fixed : DiskType::dynamic,
                       .bytes = size,
                       .data_offset = options.fixed ? no_offset : footer_bytes,
                       .id = TRY(new_unique_id())};
  auto parent = ParentReference{};
  if (!options.parent.empty()) {
    footer.type = DiskType::differencing;
    parent = TRY(refer_to_parent(path, options.parent, locators_at));
    if (footer.bytes == 0) footer.bytes = parent.bytes;
  }
  if (footer.bytes == 0 || footer.bytes > largest_disk) {
    return fail(Errc::invalid,
                fmt::format("{}: a disk of {} bytes; vhd goes up to {}", path, footer.bytes, largest_disk));
  }
  footer.bytes = align_up(footer.bytes, 512);
  auto const file = TRY(Storage::create(path));
  auto const written = options.fixed ? write_fixed(file, footer)
                                     : write_sparse(file, footer, std::move(parent), options.block_bytes);
  if (!written) Storage::remove(path);
  return written;
}

}  // namespace vireo::image
