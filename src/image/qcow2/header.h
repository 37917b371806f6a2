#pragma once

#include <string>

#include "image/qcow2/spec.h"
#include "image/storage.h"

namespace vireo::image::qcow2 {

/// The header as read, every number checked against its bounds and the file's size.
struct Header {
  u32 version{3};
  u32 cluster_bits{16};
  u64 size{};  // of the disk, bytes
  u32 l1_size{};
  u64 l1_table_offset{};
  u64 refcount_table_offset{};
  u32 refcount_table_clusters{};
  u32 refcount_order{4};
  u64 incompatible_features{};
  u64 compatible_features{};
  u64 autoclear_features{};
  u32 snapshots{};
  u64 snapshots_offset{};
  u32 bitmaps{};  // kept by others, when autoclear_features say that they are right
  u64 bitmap_directory_offset{};
  u64 bitmap_directory_bytes{};
  Compression compression{Compression::zlib};
  std::string backing_file;
  std::string backing_format;

  u64 cluster_size() const { return u64{1} << cluster_bits; }
  u64 l2_entries() const { return cluster_size() / 8; }
  u64 clusters() const { return (size >> cluster_bits) + (size % cluster_size() != 0 ? 1 : 0); }
};

/// Unknown incompatible features: Errc::unsupported, named. Nonsense: Errc::corrupt with the field.
Result<Header> read_header(Storage const& storage);
/// Before a change of the file: it no longer vouches for what is not understood here. Stable on return.
Result<> clear_unknown_autoclear(Storage const& storage, Header& header);
/// Bounds of the L1 and refcount tables.
Result<> check_tables(Storage const& storage, Header const& header);

}  // namespace vireo::image::qcow2
