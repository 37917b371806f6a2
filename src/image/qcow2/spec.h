#pragma once

#include "vocab/integers.h"
#include "vocab/numbers.h"

// QEMU's docs/interop/qcow2: all numbers big-endian, offsets in bytes from the start of the file.
namespace vireo::image::qcow2 {

inline constexpr u32 magic{0x514649fb};  // "QFI\xfb"

namespace header_at {  // byte offsets in the header
inline constexpr u64 magic{0}, version{4}, backing_file_offset{8}, backing_file_size{16}, cluster_bits{20},
    size{24}, crypt_method{32}, l1_size{36}, l1_table_offset{40}, refcount_table_offset{48},
    refcount_table_clusters{56}, nb_snapshots{60}, snapshots_offset{64};
inline constexpr u64 incompatible_features{72}, compatible_features{80}, autoclear_features{88},
    refcount_order{96}, header_length{100}, compression_type{104};
inline constexpr u64 v2_length{72}, v3_length{104};
}  // namespace header_at

namespace incompatible {
inline constexpr u64 dirty{1u << 0}, corrupt{1u << 1}, external_data_file{1u << 2}, compression_type{1u << 3},
    extended_l2{1u << 4};
inline constexpr u64 known{dirty | corrupt | external_data_file | compression_type | extended_l2};
}  // namespace incompatible

namespace extension {
inline constexpr u32 end{0}, backing_format{0xe2792aca}, feature_names{0x6803f857}, bitmaps{0x23852875},
    data_file{0x44415441}, encryption{0x0537be77};
}

inline constexpr u64 autoclear_bitmaps{1}, autoclear_raw_data_file{2};

namespace snapshot_at {  // "Snapshots", byte offsets in an entry
inline constexpr u64 l1_table_offset{0}, l1_size{8}, id_size{12}, name_size{14}, seconds{16}, nanoseconds{20},
    clock{24}, machine_state{32}, extra_size{36}, extra{40};
}  // namespace snapshot_at
namespace bitmap_at {  // "Bitmap directory"
inline constexpr u64 table_offset{0}, table_size{8}, flags{12}, type{16}, granularity_bits{17}, name_size{18},
    extra_size{20}, extra{24};
}
namespace bitmap_flag {
inline constexpr u32 in_use{1}, automatic{2}, extra_data_compatible{4};
}
inline constexpr u8 dirty_tracking_bitmap{1};
inline constexpr u64 bitmap_all_ones{1};  // a table's entry without a place

inline constexpr u32 luks_encryption{2};  // crypt_method

enum class Compression : u8 { zlib = 0, zstd = 1 };

namespace l1_entry {
inline constexpr u64 offset_mask{0x00fffffffffffe00}, copied{u64{1} << 63};
}
namespace l2_entry {
inline constexpr u64 offset_mask{0x00fffffffffffe00}, zero{1}, compressed{u64{1} << 62}, copied{u64{1} << 63};
inline constexpr u64 reserved{0x3f000000000001fe};
}  // namespace l2_entry
// "Extended L2 Entries": a second word with a bit for each of 32 parts, present below, zero above.
namespace subclusters {
inline constexpr u32 count_bits{5}, smallest_cluster_bits{14};
inline constexpr u64 all_present{0xffffffff}, all_zero{all_present << 32};
}  // namespace subclusters
inline constexpr u64 refcount_table_offset_mask{~u64{0x1ff}};

// Ours and QEMU's bounds.
inline constexpr u32 smallest_cluster_bits{9}, largest_cluster_bits{21};
inline constexpr u64 largest_l1_bytes{32 * MiB}, largest_refcount_table_bytes{8 * MiB};
inline constexpr u32 longest_backing_name{1023};
inline constexpr u32 most_snapshots{65536}, largest_snapshot_extra{1024};
inline constexpr u64 largest_snapshot_table{64 * MiB};
inline constexpr u64 largest_luks_header{64 * MiB};
inline constexpr u32 most_bitmaps{65535};
inline constexpr u64 largest_bitmap_directory{1024 * u64{most_bitmaps}}, largest_bitmaps{256 * MiB};

}  // namespace vireo::image::qcow2
