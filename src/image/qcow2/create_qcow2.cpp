#include "image/create_qcow2.h"

#include <fmt/format.h>

#include <filesystem>

#include "image/backend.h"
#include "image/formats.h"
#include "image/qcow2/refcounts.h"
#include "image/qcow2/spec.h"

namespace vireo::image {
namespace {

using namespace qcow2;  // NOLINT: the header's own vocabulary

struct Layout {
  u64 cluster{};
  u64 refcount_table{};
  u64 refcount_table_clusters{1};
  u64 first_block{};
  u64 blocks{};
  u64 l1{};
  u64 l1_entries{};
  u64 luks{};
  u64 end{};
};

u64 ceiling(u64 value, u64 unit) { return value / unit + (value % unit != 0 ? 1 : 0); }

/// Header, refcount table, refcount blocks for all of these, L1.
Layout lay_out(u64 size, Qcow2Options const& options) {
  auto layout = Layout{.cluster = u64{1} << options.cluster_bits};
  auto const cluster = layout.cluster;
  layout.l1_entries = ceiling(ceiling(size, cluster), cluster / (options.extended_l2 ? 16 : 8));
  auto const l1_clusters = ceiling(layout.l1_entries * 8, cluster);
  auto const per_block = cluster * 8 >> options.refcount_order;
  auto const luks_clusters = ceiling(options.luks_header.size(), cluster);
  for (auto settled = false; !settled;) {
    auto const total = 1 + luks_clusters + layout.refcount_table_clusters + layout.blocks + l1_clusters;
    auto const blocks = ceiling(total, per_block);
    auto const table = std::max<u64>(ceiling(blocks * 8, cluster), 1);
    settled = blocks == layout.blocks && table == layout.refcount_table_clusters;
    layout.blocks = blocks;
    layout.refcount_table_clusters = table;
  }
  layout.refcount_table = cluster;
  layout.first_block = layout.refcount_table + layout.refcount_table_clusters * cluster;
  layout.l1 = layout.first_block + layout.blocks * cluster;
  layout.luks = layout.l1 + l1_clusters * cluster;
  layout.end = layout.luks + luks_clusters * cluster;
  return layout;
}

void put_text(std::vector<std::byte>& bytes, u64 at, std::string_view text) {
  std::memcpy(bytes.data() + at, text.data(), text.size());
}

std::vector<std::byte> header_cluster(Layout const& layout, u64 size, Qcow2Options const& options) {
  auto const& backing = options.backing;
  auto const external = !options.data_file.empty();
  auto bytes = std::vector<std::byte>(layout.cluster);
  auto* const data = bytes.data();
  store_be<u32>(data + header_at::magic, magic);
  store_be<u32>(data + header_at::version, options.version);
  store_be<u32>(data + header_at::cluster_bits, options.cluster_bits);
  store_be<u64>(data + header_at::size, size);
  store_be<u32>(data + header_at::crypt_method, options.luks_header.empty() ? 0 : luks_encryption);
  store_be<u32>(data + header_at::l1_size, static_cast<u32>(layout.l1_entries));
  store_be<u64>(data + header_at::l1_table_offset, layout.l1);
  store_be<u64>(data + header_at::refcount_table_offset, layout.refcount_table);
  store_be<u32>(data + header_at::refcount_table_clusters, static_cast<u32>(layout.refcount_table_clusters));
  auto at = header_at::v2_length;
  if (options.version >= 3) {
    at = header_at::compression_type + 8;
    store_be<u32>(data + header_at::refcount_order, options.refcount_order);
    store_be<u32>(data + header_at::header_length, static_cast<u32>(at));
    store_be<u64>(data + header_at::compatible_features, options.lazy_refcounts ? 1 : 0);
    store_be<u64>(data + header_at::incompatible_features,
                  (options.zstd ? incompatible::compression_type : 0) |
                      (options.extended_l2 ? incompatible::extended_l2 : 0) |
                      (external ? incompatible::external_data_file : 0));
    store_be<u64>(data + header_at::autoclear_features, options.raw_data ? autoclear_raw_data_file : 0);
    store_le<u8>(data + header_at::compression_type, options.zstd ? 1 : 0);
  }
  auto const put_extension = [&](u32 type, std::string_view content) {
    store_be<u32>(data + at, type);
    store_be<u32>(data + at + 4, static_cast<u32>(content.size()));
    put_text(bytes, at + 8, content);
    at += 8 + align_up(content.size(), 8);
  };
  if (!options.luks_header.empty()) {
    auto place = std::string(16, '\0');
    // SOUND: characters seen as bytes, inside the string.
    auto* const into = reinterpret_cast<std::byte*>(place.data());
    store_be<u64>(into, layout.luks);
    store_be<u64>(into + 8, options.luks_header.size());
    put_extension(extension::encryption, place);
  }
  if (external) put_extension(extension::data_file, options.data_file);
  if (backing.path.empty()) return bytes;
  put_extension(extension::backing_format, backing.format);
  at += 8;  // the end marker, zeroes
  store_be<u64>(data + header_at::backing_file_offset, at);
  store_be<u32>(data + header_at::backing_file_size, static_cast<u32>(backing.path.size()));
  put_text(bytes, at, backing.path);
  return bytes;
}

Result<> write_image(Storage const& file, Layout const& layout, u64 size, Qcow2Options const& options) {
  auto const clusters = layout.end / layout.cluster;
  auto table = std::vector<std::byte>(layout.refcount_table_clusters * layout.cluster);
  for (auto block = u64{0}; block < layout.blocks; ++block) {
    store_be<u64>(table.data() + block * 8, layout.first_block + block * layout.cluster);
  }
  auto blocks = std::vector<std::byte>(layout.blocks * layout.cluster);
  for (auto cluster = u64{0}; cluster < clusters; ++cluster) {
    store_refcount(blocks, options.refcount_order, cluster, 1);
  }
  TRY(file.truncate(layout.end));
  TRY(file.write(layout.refcount_table, table));
  TRY(file.write(layout.first_block, blocks));
  TRY(file.write(layout.luks, options.luks_header));
  TRY(file.write(0, header_cluster(layout, size, options)));
  return file.sync();
}

Result<u64> size_of_backing(std::string const& path, Backing const& backing) {
  auto const image =
      TRY(open_image(name_beside(path, backing.path), {.format = backing.format, .layer_only = true}));
  return image->geometry().bytes;
}

Result<> create_data_file(std::string const& path, std::string const& name, u64 size) {
  auto const place = std::filesystem::path{path}.parent_path() / name;
  auto const file = TRY(host::File::open(place.string(), {.write = true, .create = true, .exclusive = true}));
  return file.truncate(size);
}

}  // namespace

Result<> create_qcow2(std::string const& path, u64 size, Backing const& backing, u32 cluster_bits) {
  return create_qcow2_with({.backing = backing, .cluster_bits = cluster_bits}, path, size);
}

Result<> create_qcow2_with(Qcow2Options const& options, std::string const& path, u64 size) {
  auto const& backing = options.backing;
  auto const cluster_bits = options.cluster_bits;
  if (options.refcount_order > 6 || (options.version < 3 && (options.refcount_order != 4 || options.zstd))) {
    return fail(Errc::invalid,
                fmt::format("{}: this goes with compat 1.1 only, and refcount_bits up to 64", path));
  }
  if (cluster_bits < smallest_cluster_bits || cluster_bits > largest_cluster_bits) {
    return fail(Errc::invalid, fmt::format("{}: cluster_bits {} is not between 9 and 21", path, cluster_bits));
  }
  if (!backing.path.empty() && !options.trust_backing) {
    if (find_format(backing.format) == nullptr) {
      return fail(Errc::invalid, fmt::format("{}: the backing file's format must be stated", path));
    }
    auto const bytes = TRY(size_of_backing(path, backing));
    if (size == 0) size = bytes;
  }
  auto const cluster = u64{1} << cluster_bits;
  auto const largest = largest_l1_bytes / 8 * (cluster / (options.extended_l2 ? 16 : 8)) * cluster;
  if (size == 0 || size > largest) {
    return fail(Errc::invalid,
                fmt::format("{}: a disk of {} bytes does not go with clusters of {}; the largest is {}", path,
                            size, cluster, largest));
  }
  if (options.extended_l2 && (options.version < 3 || cluster_bits < subclusters::smallest_cluster_bits)) {
    return fail(Errc::invalid,
                fmt::format("{}: extended_l2 goes with compat 1.1 and clusters of 16 KiB or more", path));
  }
  if (!options.luks_header.empty() && options.version < 3) {
    return fail(Errc::invalid, fmt::format("{}: encryption goes with compat 1.1", path));
  }
  if (!options.data_file.empty() && (options.version < 3 || options.zstd)) {
    return fail(Errc::invalid,
                fmt::format("{}: data_file goes with compat 1.1, and without compression", path));
  }
  if (options.raw_data && (options.data_file.empty() || !backing.path.empty())) {
    return fail(Errc::invalid,
                fmt::format("{}: data_file_raw goes with data_file, and without a backing file", path));
  }
  if (backing.path.size() > longest_backing_name ||
      200 + options.data_file.size() + backing.path.size() > cluster) {
    return fail(Errc::invalid, fmt::format("{}: the backing file's path is too long for the header", path));
  }
  size = align_up(size, 512);
  auto const file = TRY(Storage::create(path));
  if (!options.data_file.empty()) {
    auto const made = create_data_file(path, options.data_file, size);
    if (!made) {
      Storage::remove(path);
      return made;
    }
  }
  auto const written = write_image(file, lay_out(size, options), size, options);
  if (!written) Storage::remove(path);
  return written;
}

}  // namespace vireo::image
