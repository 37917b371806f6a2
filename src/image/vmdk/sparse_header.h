#pragma once

#include "image/storage.h"
#include "image/vmdk/spec.h"

namespace vireo::image::vmdk {

/// The header of a sparse extent of any of the three kinds, every number checked. Offsets and lengths in bytes.
struct SparseHeader {
  enum class Kind : u8 { hosted, cowd, sesparse };
  Kind kind{Kind::hosted};
  u32 version{1};
  u32 flags{};
  u64 bytes{};  // of the disk
  u64 grain{};  // a power of two
  u64 entries_per_table{};
  u64 directory{};
  u64 redundant_directory{};  // 0: none
  u64 directory_entries{};
  u64 overhead{};
  u64 descriptor{};
  u64 descriptor_bytes{};  // 0: none
  bool compressed{};
  bool footer{};  // the directory was named by the footer
  u64 tables{};   // seSparse: where grain tables begin
  u64 grains{};   // seSparse: where grains begin

  u64 table_bytes() const { return entries_per_table * (kind == Kind::sesparse ? 8 : 4); }
  u64 grain_count() const { return bytes / grain + (bytes % grain != 0 ? 1 : 0); }
};

/// Errors name the file and the field: Errc::corrupt for nonsense, Errc::unsupported for what is not known.
Result<SparseHeader> read_sparse_header(Storage const& storage);

}  // namespace vireo::image::vmdk
