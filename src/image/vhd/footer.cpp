#include "image/vhd/footer.h"

#include <fmt/format.h>

#include <algorithm>
#include <ctime>

namespace vireo::image::vhd {
namespace {

std::string_view text_at(ConstBytes bytes, u64 at, u64 length) {
  // SOUND: bytes seen as characters.
  return {reinterpret_cast<char const*>(bytes.data()) + at, length};
}

std::unexpected<Error> corrupt(Storage const& storage, u64 footer, std::string_view field, u64 at, u64 value) {
  return fail(Errc::corrupt, fmt::format("{}: vhd footer: {} (at offset {:#x}) is {:#x}; not an image of this "
                                         "kind, or damaged",
                                         storage.path(), field, footer + at, value));
}

/// Virtual PC and QEMU of old made disks of whole cylinders and left the size as it was asked for.
bool counts_by_geometry(ConstBytes raw) {
  auto const creator = text_at(raw, footer_at::creator, 4);
  return creator == "vpc " || creator == "qemu";
}

Result<Footer> parse(Storage const& storage, u64 where, std::vector<std::byte> raw) {
  auto const* const data = raw.data();
  auto const type = load_be<u32>(data + footer_at::disk_type);
  if (type < static_cast<u32>(DiskType::fixed) || type > static_cast<u32>(DiskType::differencing)) {
    return corrupt(storage, where, "disk type", footer_at::disk_type, type);
  }
  auto const version = load_be<u32>(data + footer_at::version);
  if (version >> 16 != 1) return corrupt(storage, where, "version", footer_at::version, version);
  auto const geometry = DiskGeometry{.cylinders = load_be<u16>(data + footer_at::cylinders),
                                     .heads = load_be<u8>(data + footer_at::heads),
                                     .sectors_per_track = load_be<u8>(data + footer_at::sectors_per_track)};
  auto bytes = load_be<u64>(data + footer_at::current_size);
  if (counts_by_geometry(raw) && geometry.sectors() != 0 && geometry.sectors() < largest_geometry_sectors) {
    bytes = geometry.sectors() * 512;
  }
  if (bytes % 512 != 0 || bytes > u64{most_entries} * largest_block) {
    return corrupt(storage, where, "current size", footer_at::current_size, bytes);
  }
  return Footer{.type = static_cast<DiskType>(type),
                .bytes = bytes,
                .data_offset = load_be<u64>(data + footer_at::data_offset),
                .id = load_unique_id(data + footer_at::unique_id),
                .raw = std::move(raw)};
}

bool is_footer(ConstBytes raw) {
  return text_at(raw, footer_at::cookie, 8) == footer_cookie &&
         checksum_of(raw, footer_at::checksum) == load_be<u32>(raw.data() + footer_at::checksum);
}

}  // namespace

DiskGeometry geometry_of(u64 sectors) {
  sectors = std::min(sectors, largest_geometry_sectors);
  auto per_track = u64{17};
  auto heads = u64{16};
  auto tracks = sectors / per_track;
  if (sectors >= u64{65535} * 16 * 63) {
    per_track = 255;
    tracks = sectors / per_track;
  } else {
    heads = std::max<u64>((tracks + 1023) / 1024, 4);
    if (tracks >= heads * 1024 || heads > 16) {
      per_track = 31;
      heads = 16;
      tracks = sectors / per_track;
    }
    if (tracks >= heads * 1024) {
      per_track = 63;
      heads = 16;
      tracks = sectors / per_track;
    }
  }
  return {static_cast<u16>(tracks / heads), static_cast<u8>(heads), static_cast<u8>(per_track)};
}

u32 checksum_of(ConstBytes bytes, u64 checksum_at) {
  auto sum = u32{0};
  for (auto at = u64{0}; at < bytes.size(); ++at) {
    if (at < checksum_at || at >= checksum_at + 4) sum += std::to_integer<u32>(bytes[at]);
  }
  return ~sum;
}

Result<Footer> read_footer(Storage const& storage) {
  auto const file_bytes = TRY(storage.size());
  auto raw = std::vector<std::byte>(footer_bytes);
  if (file_bytes >= footer_bytes) {
    TRY(storage.read(file_bytes - footer_bytes, raw));
    if (is_footer(raw)) {
      auto footer = TRY(parse(storage, file_bytes - footer_bytes, std::move(raw)));
      footer.at_end = true;
      return footer;
    }
  }
  TRY(storage.read(0, raw));
  if (!is_footer(raw)) {
    return fail(Errc::corrupt,
                fmt::format("{}: vhd: no footer with a right checksum at offset {:#x} or 0; not an "
                            "image of this kind, or damaged",
                            storage.path(), file_bytes - std::min(file_bytes, footer_bytes)));
  }
  auto footer = TRY(parse(storage, 0, std::move(raw)));
  if (footer.type != DiskType::fixed) return footer;
  return corrupt(storage, 0, "disk type", footer_at::disk_type, static_cast<u64>(footer.type));
}

std::vector<std::byte> encode_footer(Footer const& footer) {
  auto raw = std::vector<std::byte>(footer_bytes);
  auto* const data = raw.data();
  auto const geometry = geometry_of(footer.bytes / 512);
  std::memcpy(data + footer_at::cookie, footer_cookie.data(), footer_cookie.size());
  store_be<u32>(data + footer_at::features, feature_reserved);
  store_be<u32>(data + footer_at::version, version_1_0);
  store_be<u64>(data + footer_at::data_offset, footer.data_offset);
  store_be<u32>(data + footer_at::time_stamp, static_cast<u32>(::time(nullptr) - time_zero));
  std::memcpy(data + footer_at::creator, creator_by_size.data(), creator_by_size.size());
  store_be<u32>(data + footer_at::creator_version, creator_version);
  std::memcpy(data + footer_at::creator_host, host_windows.data(), host_windows.size());
  store_be<u64>(data + footer_at::original_size, footer.bytes);
  store_be<u64>(data + footer_at::current_size, footer.bytes);
  store_be<u16>(data + footer_at::cylinders, geometry.cylinders);
  store_be<u8>(data + footer_at::heads, geometry.heads);
  store_be<u8>(data + footer_at::sectors_per_track, geometry.sectors_per_track);
  store_be<u32>(data + footer_at::disk_type, static_cast<u32>(footer.type));
  store_le(data + footer_at::unique_id, footer.id);
  store_be<u32>(data + footer_at::checksum, checksum_of(raw, footer_at::checksum));
  return raw;
}

}  // namespace vireo::image::vhd
