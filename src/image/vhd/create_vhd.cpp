#include "image/create_vhd.h"

#include <fmt/format.h>

#include <algorithm>
#include <bit>
#include <filesystem>

#include "image/vhd/dynamic_header.h"
#include "image/vhd/utf16.h"

namespace vireo::image {
namespace {

using namespace vhd;  // NOLINT: the format's own vocabulary

constexpr u64 locators_at{footer_bytes + dynamic_bytes};
constexpr u64 table_alignment{4096};
constexpr u64 table_chunk{64 * KiB};

struct Parent {
  DynamicHeader header;
  std::vector<std::byte> locator_data;  // from locators_at on
};

Result<> add_locator(Parent& parent, u32 platform, std::string const& path) {
  auto const encoded = utf16_from_utf8(path, std::endian::little);
  if (!encoded || encoded->size() > longest_locator) {
    return fail(Errc::invalid, fmt::format("{}: vhd: the parent's path is not UTF-8, or too long", path));
  }
  auto const at = align_up(parent.locator_data.size(), 512);
  parent.header.locators.push_back({platform, locators_at + at, static_cast<u32>(encoded->size())});
  parent.locator_data.resize(align_up(at + encoded->size(), 512));
  std::ranges::copy(*encoded, parent.locator_data.begin() + static_cast<std::ptrdiff_t>(at));
  return {};
}

Result<u32> time_stamp_of(std::string const& path) {
  auto failure = std::error_code{};
  auto const time = std::filesystem::last_write_time(path, failure);
  if (failure) return fail(Errc::io, fmt::format("{}: {}", path, failure.message()));
  auto const since_1970 = std::chrono::file_clock::to_sys(time).time_since_epoch();
  return static_cast<u32>(std::chrono::duration_cast<std::chrono::seconds>(since_1970).count() - time_zero);
}

Result<Parent> describe_parent(std::string const& path, std::string const& parent, Footer& footer) {
  auto const storage = TRY(Storage::open(parent, false, CacheMode::writeback));
  auto const above = TRY(read_footer(storage));
  if (footer.bytes == 0) footer.bytes = above.bytes;
  auto failure = std::error_code{};
  auto const from = std::filesystem::absolute(path, failure).parent_path();
  auto const to = std::filesystem::absolute(parent, failure);
  auto relative = to.lexically_relative(from).string();
  if (relative.empty() || relative.find('\\') != std::string::npos) {
    return fail(Errc::invalid, fmt::format("{}: vhd: {} cannot be named as a parent", path, parent));
  }
  if (!relative.starts_with("..")) relative.insert(0, "./");
  std::ranges::replace(relative, '/', '\\');
  auto result = Parent{};
  result.header.parent_id = above.id;
  result.header.parent_time_stamp = TRY(time_stamp_of(parent));
  result.header.parent_name = to.filename().string();
  auto const name = utf16_from_utf8(result.header.parent_name, std::endian::big);
  if (!name || name->size() >= parent_name_units * 2) {
    return fail(Errc::invalid, fmt::format("{}: vhd: the parent's name is not UTF-8, or too long", parent));
  }
  TRY(add_locator(result, platform::relative_utf16, relative));
  TRY(add_locator(result, platform::absolute_utf16, to.lexically_normal().string()));
  return result;
}

Result<> write_sparse(Storage const& file, Footer const& footer, Parent parent, u32 block) {
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
  auto parent = Parent{};
  if (!options.parent.empty()) {
    footer.type = DiskType::differencing;
    parent = TRY(describe_parent(path, options.parent, footer));
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
