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
  bool encrypted{};  // LUKS, with its header in this file
  u64 luks_offset{};
  u64 luks_bytes{};
  std::string backing_file;
  std::string backing_format;
  std::string data_file;  // as written; with it the disk lies there, each byte at its own place

  u64 cluster_size() const { return u64{1} << cluster_bits; }
  bool extended_l2() const { return (incompatible_features & incompatible::extended_l2) != 0; }
  bool external_data() const { return (incompatible_features & incompatible::external_data_file) != 0; }
  /// The data file can be read as it is, without this one.
  bool raw_data() const {
    return external_data() && backing_file.empty() && (autoclear_features & autoclear_raw_data_file) != 0;
  }
  u64 l2_words() const { return extended_l2() ? 2 : 1; }  // in an L2 entry
  u64 l2_entries() const { return cluster_size() / 8 / l2_words(); }
  u32 part_bits() const { return extended_l2() ? cluster_bits - subclusters::count_bits : cluster_bits; }
  u64 clusters() const { return (size >> cluster_bits) + (size % cluster_size() != 0 ? 1 : 0); }
};

/// Unknown incompatible features: Errc::unsupported, named. Nonsense: Errc::corrupt with the field.
Result<Header> read_header(Storage const& storage);
/// Before a change of the file: it no longer vouches for what is not understood here. Stable on return.
Result<> clear_unknown_autoclear(Storage const& storage, Header& header);
/// Bounds of the L1 and refcount tables.
Result<> check_tables(Storage const& storage, Header const& header);

}  // namespace vireo::image::qcow2
