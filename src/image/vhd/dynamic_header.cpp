#include "image/vhd/dynamic_header.h"

#include <fmt/format.h>

#include "image/vhd/utf16.h"

namespace vireo::image::vhd {
namespace {

struct Source {
  Storage const& storage;
  u64 at;  // of the header
  ConstBytes bytes;
  u64 file_bytes;

  template <typename T>
  T number(u64 offset) const {
    return load_be<T>(bytes.data() + offset);
  }
  std::unexpected<Error> corrupt(std::string_view field, u64 offset, u64 value) const {
    return fail(Errc::corrupt, fmt::format("{}: vhd dynamic header: {} (at offset {:#x}) is {:#x}; damaged",
                                           storage.path(), field, at + offset, value));
  }
};

Result<> check_kind(Source const& source) {
  // SOUND: bytes seen as characters.
  if (std::string_view{reinterpret_cast<char const*>(source.bytes.data()), dynamic_cookie.size()} !=
      dynamic_cookie) {
    return source.corrupt("cookie", dynamic_at::cookie, source.number<u64>(dynamic_at::cookie));
  }
  auto const checksum = source.number<u32>(dynamic_at::checksum);
  if (checksum_of(source.bytes, dynamic_at::checksum) != checksum) {
    return source.corrupt("checksum", dynamic_at::checksum, checksum);
  }
  auto const version = source.number<u32>(dynamic_at::version);
  if (version >> 16 != 1) return source.corrupt("version", dynamic_at::version, version);
  return {};
}

Result<> check_numbers(Source const& source, DynamicHeader const& header, u64 disk_bytes) {
  if (header.block < smallest_block || header.block > largest_block || !std::has_single_bit(header.block)) {
    return source.corrupt("block size", dynamic_at::block_size, header.block);
  }
  if (header.entries > most_entries || u64{header.entries} * header.block < disk_bytes) {
    return source.corrupt("max table entries", dynamic_at::max_table_entries, header.entries);
  }
  auto const table_bytes = u64{header.entries} * 4;
  if (header.table_at % 512 != 0 || header.table_at < footer_bytes || header.table_at > source.file_bytes ||
      table_bytes > source.file_bytes - header.table_at) {
    return source.corrupt("table offset", dynamic_at::table_offset, header.table_at);
  }
  return {};
}

Result<std::vector<DynamicHeader::Locator>> read_locators(Source const& source) {
  auto locators = std::vector<DynamicHeader::Locator>{};
  for (auto index = u64{0}; index < vhd::locators; ++index) {
    auto const at = dynamic_at::locators + index * locator_entry_bytes;
    auto const locator = DynamicHeader::Locator{.platform = source.number<u32>(at + locator_at::platform_code),
                                                .at = source.number<u64>(at + locator_at::data_offset),
                                                .length = source.number<u32>(at + locator_at::data_length)};
    if (locator.platform == 0 || locator.length == 0) continue;
    if (locator.length > longest_locator) {
      return source.corrupt("length of a parent locator", at + locator_at::data_length, locator.length);
    }
    if (locator.at > source.file_bytes || locator.length > source.file_bytes - locator.at) {
      return source.corrupt("offset of a parent locator", at + locator_at::data_offset, locator.at);
    }
    locators.push_back(locator);
  }
  return locators;
}

}  // namespace

Result<DynamicHeader> read_dynamic_header(Storage const& storage, Footer const& footer) {
  auto const file_bytes = TRY(storage.size());
  if (footer.data_offset % 512 != 0 || footer.data_offset < footer_bytes || footer.data_offset > file_bytes ||
      file_bytes - footer.data_offset < dynamic_bytes) {
    return fail(Errc::corrupt, fmt::format("{}: vhd footer: data offset (at offset {:#x}) is {:#x}; damaged",
                                           storage.path(), footer_at::data_offset, footer.data_offset));
  }
  auto bytes = std::vector<std::byte>(dynamic_bytes);
  TRY(storage.read(footer.data_offset, bytes));
  auto const source = Source{storage, footer.data_offset, bytes, file_bytes};
  TRY(check_kind(source));
  auto header = DynamicHeader{
      .table_at = source.number<u64>(dynamic_at::table_offset),
      .entries = source.number<u32>(dynamic_at::max_table_entries),
      .block = source.number<u32>(dynamic_at::block_size),
      .parent_id = load_unique_id(bytes.data() + dynamic_at::parent_id),
      .parent_time_stamp = source.number<u32>(dynamic_at::parent_time_stamp),
      .parent_name = utf8_from_utf16(source.bytes.subspan(dynamic_at::parent_name, parent_name_units * 2),
                                     std::endian::big),
  };
  TRY(check_numbers(source, header, footer.bytes));
  if (footer.type == DiskType::differencing) header.locators = TRY(read_locators(source));
  return header;
}

/// The parent's name must be UTF-8 of at most 255 units, the locators at most eight.
std::vector<std::byte> encode_dynamic_header(DynamicHeader const& header) {
  auto bytes = std::vector<std::byte>(dynamic_bytes);
  auto* const data = bytes.data();
  std::memcpy(data + dynamic_at::cookie, dynamic_cookie.data(), dynamic_cookie.size());
  store_be<u64>(data + dynamic_at::data_offset, no_offset);
  store_be<u64>(data + dynamic_at::table_offset, header.table_at);
  store_be<u32>(data + dynamic_at::version, version_1_0);
  store_be<u32>(data + dynamic_at::max_table_entries, header.entries);
  store_be<u32>(data + dynamic_at::block_size, header.block);
  store_le(data + dynamic_at::parent_id, header.parent_id);
  store_be<u32>(data + dynamic_at::parent_time_stamp, header.parent_time_stamp);
  auto const name = utf16_from_utf8(header.parent_name, std::endian::big).value_or(std::vector<std::byte>{});
  std::memcpy(data + dynamic_at::parent_name, name.data(), std::min<u64>(name.size(), parent_name_units * 2));
  auto* entry = data + dynamic_at::locators;
  for (auto const& locator : header.locators) {
    store_be<u32>(entry + locator_at::platform_code, locator.platform);
    // The specification says sectors, Windows writes bytes.
    store_be<u32>(entry + locator_at::data_space, static_cast<u32>(align_up(locator.length, 512)));
    store_be<u32>(entry + locator_at::data_length, locator.length);
    store_be<u64>(entry + locator_at::data_offset, locator.at);
    entry += locator_entry_bytes;
  }
  store_be<u32>(data + dynamic_at::checksum, checksum_of(bytes, dynamic_at::checksum));
  return bytes;
}

}  // namespace vireo::image::vhd
