#include <fmt/format.h>

#include <bit>
#include <optional>

#include "image/vhdx/structure.h"

namespace vireo::image::vhdx {
namespace {

struct Reader {
  PatchedFile const& file;
  Region region;
  std::map<UniqueId, Region> items{};  // offsets in the file

  std::unexpected<Error> corrupt(std::string_view what, u64 at, u64 value) const {
    return fail(Errc::corrupt, fmt::format("{}: VHDX metadata: {} at offset {:#x} is {:#x}",
                                           file.storage().path(), what, at, value));
  }

  Result<> read_table() {
    using namespace metadata_at;
    auto table = std::vector<std::byte>(table_bytes);
    TRY(file.read(region.offset, table));
    auto const* const data = table.data();
    if (load_le<u64>(data) != signature_value) return corrupt("signature", region.offset, load_le<u64>(data));
    auto const entry_count = load_le<u16>(data + count);
    if (entry_count > most_entries) return corrupt("entry count", region.offset + count, entry_count);
    for (auto index = u64{0}; index < entry_count; ++index) {
      auto const* const entry = data + entries + index * entry_bytes;
      auto const where = region.offset + entries + index * entry_bytes;
      auto const place = Region{load_le<u32>(entry + entry_offset), load_le<u32>(entry + entry_length)};
      auto const flags = load_le<u32>(entry + entry_flags);
      auto const id = load_unique_id(entry);
      if (place.length != 0 && (place.offset < table_bytes || place.offset > region.length ||
                                place.length > region.length - place.offset)) {
        return corrupt("an item's offset", where + entry_offset, place.offset);
      }
      if (!is_known(id) && (flags & is_required) != 0) {
        return fail(Errc::unsupported, fmt::format("{}: VHDX needs a metadata item that is not known: {}",
                                                   file.storage().path(), guid_text(id)));
      }
      if ((flags & is_user) == 0) items[id] = {region.offset + place.offset, place.length};
    }
    return {};
  }

  static bool is_known(UniqueId const& id) {
    return id == item::file_parameters || id == item::disk_size || id == item::page_83 ||
           id == item::logical_sector || id == item::physical_sector || id == item::parent_locator;
  }

  Result<std::vector<std::byte>> get(UniqueId const& id, std::string_view name, u64 length) const {
    auto const found = items.find(id);
    if (found == items.end() || found->second.length < length) {
      return fail(Errc::corrupt, fmt::format("{}: VHDX metadata at offset {:#x}: {} is missing or too short",
                                             file.storage().path(), region.offset, name));
    }
    auto bytes = std::vector<std::byte>(length);
    TRY(file.read(found->second.offset, bytes));
    return bytes;
  }

  Result<u32> sector_size(UniqueId const& id, std::string_view name) const {
    auto const bytes = TRY(get(id, name, 4));
    auto const value = load_le<u32>(bytes.data());
    if (value != 512 && value != 4096) return corrupt(name, items.at(id).offset, value);
    return value;
  }

  Result<std::map<std::string, std::string>> locator() const {
    auto const found = items.find(item::parent_locator);
    auto const length = found == items.end() ? u64{0} : found->second.length;
    if (length < 20 || length > largest_locator)
      return corrupt("parent locator's length", region.offset, length);
    auto const at = found->second.offset;
    auto const bytes = TRY(get(item::parent_locator, "parent locator", length));
    if (load_unique_id(bytes.data()) != vhdx_locator) {
      return fail(Errc::unsupported,
                  fmt::format("{}: VHDX: a parent locator of the kind {} is not known", file.storage().path(),
                              guid_text(load_unique_id(bytes.data()))));
    }
    auto result = std::map<std::string, std::string>{};
    auto const pairs = load_le<u16>(bytes.data() + 18);
    if (20 + pairs * u64{12} > length) return corrupt("parent locator's count", at + 18, pairs);
    for (auto index = u64{0}; index < pairs; ++index) {
      auto const* const pair = bytes.data() + 20 + index * 12;
      auto const text = [&](u64 offset, u64 count) -> std::optional<std::string> {
        if (offset > length || count > length - offset) return {};
        return from_utf16(ConstBytes{bytes}.subspan(offset, count));
      };
      auto const key = text(load_le<u32>(pair), load_le<u16>(pair + 8));
      auto const value = text(load_le<u32>(pair + 4), load_le<u16>(pair + 10));
      if (!key || !value) return corrupt("parent locator's pair", at + 20 + index * 12, load_le<u64>(pair));
      result[*key] = *value;
    }
    return result;
  }
};

}  // namespace

Result<DiskInfo> read_disk_info(PatchedFile const& file, Region const& metadata) {
  auto reader = Reader{file, metadata};
  TRY(reader.read_table());
  auto info = DiskInfo{};
  auto const parameters = TRY(reader.get(item::file_parameters, "file parameters", 8));
  info.block = load_le<u32>(parameters.data());
  auto const flags = load_le<u32>(parameters.data() + 4);
  info.leaves_blocks_allocated = (flags & leave_blocks_allocated) != 0;
  info.has_parent = (flags & has_parent) != 0;
  if (!std::has_single_bit(info.block) || info.block < smallest_block || info.block > largest_block) {
    return reader.corrupt("block size", reader.items[item::file_parameters].offset, info.block);
  }
  info.logical_sector = TRY(reader.sector_size(item::logical_sector, "logical sector size"));
  info.physical_sector = TRY(reader.sector_size(item::physical_sector, "physical sector size"));
  auto const size = TRY(reader.get(item::disk_size, "virtual disk size", 8));
  info.bytes = load_le<u64>(size.data());
  info.size_at = reader.items[item::disk_size].offset;
  if (info.bytes == 0 || info.bytes > largest_disk || info.bytes % info.logical_sector != 0) {
    return reader.corrupt("virtual disk size", reader.items[item::disk_size].offset, info.bytes);
  }
  if (info.has_parent) info.locator = TRY(reader.locator());
  return info;
}

std::string from_utf16(ConstBytes bytes) {
  auto text = std::string{};
  for (auto at = std::size_t{0}; at + 2 <= bytes.size(); at += 2) {
    auto point = u32{load_le<u16>(bytes.data() + at)};
    if ((point & 0xfc00) == 0xd800 && at + 4 <= bytes.size()) {
      auto const low = u32{load_le<u16>(bytes.data() + at + 2)};
      if ((low & 0xfc00) == 0xdc00) {
        point = 0x10000 + ((point & 0x3ff) << 10) + (low & 0x3ff);
        at += 2;
      }
    }
    auto const tail = [&](u32 shift) { text += static_cast<char>(0x80 | ((point >> shift) & 0x3f)); };
    if (point == 0 || (point & 0xfffff800) == 0xd800) {
      text += '?';
    } else if (point < 0x80) {
      text += static_cast<char>(point);
    } else if (point < 0x800) {
      text += static_cast<char>(0xc0 | (point >> 6));
      tail(0);
    } else if (point < 0x10000) {
      text += static_cast<char>(0xe0 | (point >> 12));
      tail(6);
      tail(0);
    } else {
      text += static_cast<char>(0xf0 | (point >> 18));
      tail(12);
      tail(6);
      tail(0);
    }
  }
  return text;
}

std::vector<std::byte> to_utf16(std::string_view text) {
  auto bytes = std::vector<std::byte>{};
  auto const put = [&](u32 unit) {
    bytes.push_back(static_cast<std::byte>(unit));
    bytes.push_back(static_cast<std::byte>(unit >> 8));
  };
  for (auto at = std::size_t{0}; at < text.size();) {
    auto const first = static_cast<u8>(text[at++]);
    auto const more = first < 0xc0 ? 0u : first < 0xe0 ? 1u : first < 0xf0 ? 2u : 3u;
    auto point = u32{first} & (more == 0 ? 0x7fu : 0x3fu >> more);
    for (auto each = 0u; each < more && at < text.size(); ++each) {
      point = (point << 6) | (static_cast<u8>(text[at++]) & 0x3fu);
    }
    if (point >= 0x10000) {
      put(0xd800 + ((point - 0x10000) >> 10));
      put(0xdc00 + ((point - 0x10000) & 0x3ff));
    } else {
      put(point);
    }
  }
  return bytes;
}

}  // namespace vireo::image::vhdx
