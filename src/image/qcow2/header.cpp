#include "image/qcow2/header.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <vector>

namespace vireo::image::qcow2 {
namespace {

std::unexpected<Error> corrupt(Storage const& storage, std::string_view what) {
  return fail(Errc::corrupt,
              fmt::format("{}: qcow2 header: {}; not an image of this kind, or damaged", storage.path(), what));
}

bool lies_inside(u64 offset, u64 length, u64 file_bytes) {
  return offset <= file_bytes && length <= file_bytes - offset;
}

struct Extensions {
  std::string backing_format;
  std::string data_file;
  u64 luks_offset{};
  u64 luks_bytes{};
  u32 bitmaps{};
  u64 bitmap_directory_offset{};
  u64 bitmap_directory_bytes{};
  std::vector<std::pair<unsigned, std::string>> feature_names;  // incompatible ones
};

Extensions read_extensions(ConstBytes cluster, u64 at, u64 end) {
  auto result = Extensions{};
  while (at + 8 <= end) {
    auto const type = load_be<u32>(cluster.data() + at);
    auto const length = u64{load_be<u32>(cluster.data() + at + 4)};
    at += 8;
    if (type == extension::end || length > end - at) break;
    auto const payload = cluster.subspan(at, length);
    // SOUND: bytes seen as characters.
    auto const text = std::string_view{reinterpret_cast<char const*>(payload.data()), payload.size()};
    if (type == extension::backing_format) result.backing_format = text;
    if (type == extension::data_file) result.data_file = text;
    if (type == extension::encryption && length >= 16) {
      result.luks_offset = load_be<u64>(payload.data());
      result.luks_bytes = load_be<u64>(payload.data() + 8);
    }
    if (type == extension::bitmaps && length >= 24) {
      result.bitmaps = load_be<u32>(payload.data());
      result.bitmap_directory_bytes = load_be<u64>(payload.data() + 8);
      result.bitmap_directory_offset = load_be<u64>(payload.data() + 16);
    }
    if (type == extension::feature_names) {
      for (auto entry = text; entry.size() >= 48; entry.remove_prefix(48)) {
        if (entry[0] != 0) continue;  // 0: incompatible
        auto const name = entry.substr(2, 46);
        result.feature_names.emplace_back(static_cast<u8>(entry[1]), name.substr(0, name.find('\0')));
      }
    }
    at += align_up(length, 8);
  }
  return result;
}

std::string feature_name(unsigned bit, Extensions const& extensions) {
  for (auto const& [number, name] : extensions.feature_names) {
    if (number == bit) return name;
  }
  return fmt::format("unknown feature bit {}", bit);
}

Result<> check_features(Storage const& storage, Header const& header, Extensions const& extensions) {
  auto unknown = std::vector<std::string>{};
  for (auto bit = 0u; bit < 64; ++bit) {
    if ((header.incompatible_features & ~incompatible::known) >> bit & 1) {
      unknown.push_back(feature_name(bit, extensions));
    }
  }
  if (!unknown.empty()) {
    return fail(Errc::unsupported,
                fmt::format("{}: qcow2 needs features that are not supported: {}; convert the image "
                            "without them",
                            storage.path(), fmt::join(unknown, ", ")));
  }
  return {};
}

}  // namespace

Result<> clear_unknown_autoclear(Storage const& storage, Header& header) {
  auto const known = header.autoclear_features & (autoclear_bitmaps | autoclear_raw_data_file);
  if (header.autoclear_features == known) return {};
  auto bytes = std::vector<std::byte>(8);
  store_be<u64>(bytes.data(), known);
  TRY(storage.write(header_at::autoclear_features, bytes));
  header.autoclear_features = known;
  return storage.sync();
}

Result<> check_tables(Storage const& storage, Header const& header) {
  auto const file_bytes = TRY(storage.size());
  auto const cluster = header.cluster_size();
  if (header.size > u64{1} << 62) return corrupt(storage, fmt::format("disk size {}", header.size));
  auto const l1_needed = (header.clusters() + header.l2_entries() - 1) / header.l2_entries();
  if (u64{header.l1_size} * 8 > largest_l1_bytes || header.l1_size < l1_needed) {
    return corrupt(storage,
                   fmt::format("L1 table of {} entries for a disk of {} bytes", header.l1_size, header.size));
  }
  if (header.l1_size != 0 && (header.l1_table_offset % cluster != 0 || header.l1_table_offset == 0 ||
                              !lies_inside(header.l1_table_offset, u64{header.l1_size} * 8, file_bytes))) {
    return corrupt(storage, fmt::format("L1 table at offset {:#x}", header.l1_table_offset));
  }
  auto const table_bytes = u64{header.refcount_table_clusters} << header.cluster_bits;
  if (table_bytes == 0 || table_bytes > std::max(largest_refcount_table_bytes, cluster) ||
      header.refcount_table_offset % cluster != 0 || header.refcount_table_offset == 0 ||
      !lies_inside(header.refcount_table_offset, table_bytes, align_up(file_bytes, cluster))) {
    return corrupt(storage, fmt::format("refcount table of {} clusters at offset {:#x}",
                                        header.refcount_table_clusters, header.refcount_table_offset));
  }
  return {};
}

Result<Header> read_header(Storage const& storage) {
  auto bytes = std::vector<std::byte>(u64{1} << largest_cluster_bits);
  TRY(storage.read(0, Bytes{bytes}.first(4096)));
  auto const* const data = bytes.data();
  auto header = Header{};
  if (load_be<u32>(data) != magic) return corrupt(storage, "no magic number");
  header.version = load_be<u32>(data + header_at::version);
  if (header.version != 2 && header.version != 3) {
    return fail(Errc::unsupported, fmt::format("{}: qcow2 version {}", storage.path(), header.version));
  }
  header.cluster_bits = load_be<u32>(data + header_at::cluster_bits);
  if (header.cluster_bits < smallest_cluster_bits || header.cluster_bits > largest_cluster_bits) {
    return corrupt(storage, fmt::format("cluster_bits {}", header.cluster_bits));
  }
  if (header.cluster_bits > 12) TRY(storage.read(0, Bytes{bytes}.first(header.cluster_size())));
  header.size = load_be<u64>(data + header_at::size);
  header.l1_size = load_be<u32>(data + header_at::l1_size);
  header.l1_table_offset = load_be<u64>(data + header_at::l1_table_offset);
  header.refcount_table_offset = load_be<u64>(data + header_at::refcount_table_offset);
  header.refcount_table_clusters = load_be<u32>(data + header_at::refcount_table_clusters);
  header.snapshots = load_be<u32>(data + header_at::nb_snapshots);
  header.snapshots_offset = load_be<u64>(data + header_at::snapshots_offset);
  auto length = header_at::v2_length;
  if (header.version == 3) {
    header.incompatible_features = load_be<u64>(data + header_at::incompatible_features);
    header.compatible_features = load_be<u64>(data + header_at::compatible_features);
    header.autoclear_features = load_be<u64>(data + header_at::autoclear_features);
    header.refcount_order = load_be<u32>(data + header_at::refcount_order);
    length = load_be<u32>(data + header_at::header_length);
    if (header.refcount_order > 6)
      return corrupt(storage, fmt::format("refcount_order {}", header.refcount_order));
    if (length < header_at::v3_length || length % 8 != 0 || length > header.cluster_size()) {
      return corrupt(storage, fmt::format("header_length {}", length));
    }
  }
  auto const backing_offset = load_be<u64>(data + header_at::backing_file_offset);
  auto const backing_size = load_be<u32>(data + header_at::backing_file_size);
  if (backing_offset != 0 && (backing_size > longest_backing_name || backing_offset < length ||
                              !lies_inside(backing_offset, backing_size, header.cluster_size()))) {
    return corrupt(storage,
                   fmt::format("backing file name of {} bytes at offset {:#x}", backing_size, backing_offset));
  }
  auto const extensions_end = backing_offset != 0 ? backing_offset : header.cluster_size();
  auto const extensions = read_extensions(bytes, length, extensions_end);
  TRY(check_features(storage, header, extensions));
  if (header.extended_l2() && header.cluster_bits < subclusters::smallest_cluster_bits) {
    return corrupt(storage, fmt::format("extended L2 entries with cluster_bits {}", header.cluster_bits));
  }
  if (header.external_data()) {
    header.data_file = extensions.data_file;
    if (header.data_file.empty() || header.data_file.find('\0') != std::string::npos)
      return corrupt(storage, "no name of its data file");
  }
  if ((header.autoclear_features & autoclear_bitmaps) != 0) {
    header.bitmaps = extensions.bitmaps;
    header.bitmap_directory_bytes = extensions.bitmap_directory_bytes;
    header.bitmap_directory_offset = extensions.bitmap_directory_offset;
  }
  if (auto const method = load_be<u32>(data + header_at::crypt_method);
      method != 0 && method != luks_encryption) {
    return fail(Errc::unsupported, fmt::format("{}: qcow2 with {} encryption is not supported", storage.path(),
                                               method == 1 ? "AES" : "unknown"));
  } else if (method == luks_encryption) {
    header.encrypted = true;
    header.luks_offset = extensions.luks_offset;
    header.luks_bytes = extensions.luks_bytes;
    auto const place_is_good = header.luks_offset != 0 && header.luks_bytes <= largest_luks_header &&
                               header.luks_offset % header.cluster_size() == 0 &&
                               lies_inside(header.luks_offset, header.luks_bytes, TRY(storage.size()));
    if (header.version < 3 || !place_is_good)
      return corrupt(storage, fmt::format("LUKS header of {} bytes at offset {:#x}", header.luks_bytes,
                                          header.luks_offset));
  }
  if ((header.incompatible_features & incompatible::compression_type) != 0) {
    auto const type =
        length > header_at::compression_type ? load_le<u8>(data + header_at::compression_type) : u8{0};
    if (type > 1)
      return fail(Errc::unsupported, fmt::format("{}: qcow2 compression type {}", storage.path(), type));
    header.compression = Compression{type};
  }
  if (backing_offset != 0 && backing_size != 0) {
    // SOUND: bytes seen as characters, inside the cluster just read.
    header.backing_file.assign(reinterpret_cast<char const*>(data + backing_offset), backing_size);
    if (header.backing_file.find('\0') != std::string::npos) return corrupt(storage, "backing file name");
    header.backing_format = extensions.backing_format;
  }
  TRY(check_tables(storage, header));
  return header;
}

}  // namespace vireo::image::qcow2
