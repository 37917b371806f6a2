#pragma once

#include "vocab/integers.h"
#include "vocab/numbers.h"

// VMware's "Virtual Disk Format 5.0"; seSparse and COWD as other tools read them. Numbers are little-endian,
// offsets in the file count sectors of 512 bytes.
namespace vireo::image::vmdk {

inline constexpr u64 sector{512};

inline constexpr u32 sparse_magic{0x564d444b};  // "KDMV", Hosted Sparse Extent Header
namespace sparse_at {                           // byte offsets in it
inline constexpr u64 magic{0}, version{4}, flags{8}, capacity{12}, grain_size{20}, descriptor_offset{28},
    descriptor_size{36}, entries_per_table{44}, redundant_directory{48}, directory{56}, overhead{64},
    unclean_shutdown{72}, single_end_line{73}, non_end_line{74}, double_end_line1{75}, double_end_line2{76},
    compression{77};
inline constexpr u64 length{512};
}  // namespace sparse_at
namespace sparse_flag {
inline constexpr u32 newline_test{1u << 0}, redundant_table{1u << 1}, zeroed_grain{1u << 2},
    compressed{1u << 16}, markers{1u << 17};
}
inline constexpr u64 directory_at_end{~u64{0}};
inline constexpr u16 compression_deflate{1};
inline constexpr u64 footer_from_end{1024};  // footer, then the end-of-stream marker

// Markers of stream-optimized extents.
enum class Marker : u32 { end_of_stream = 0, grain_table = 1, grain_directory = 2, footer = 3 };
namespace marker_at {
inline constexpr u64 sectors{0}, size{8}, type{12};
}
namespace grain_at {  // a compressed grain: its first sector on the disk, the length, the data
inline constexpr u64 lba{0}, size{8}, data{12};
}

inline constexpr u32 table_entries{512};
inline constexpr u64 default_grain{128};  // sectors
inline constexpr u32 zeroed_grain_entry{1};

inline constexpr u32 cowd_magic{0x44574f43};  // "COWD", ESXi's vmfsSparse
namespace cowd_at {
inline constexpr u64 version{4}, flags{8}, sectors{12}, grain_size{16}, directory{20}, directory_entries{24};
inline constexpr u32 entries_per_table{4096};
}  // namespace cowd_at

namespace sesparse {
inline constexpr u64 magic{0xcafebabe}, volatile_magic{0xcafecafe}, version{0x0000000200000001};
namespace at {  // 64-bit fields
inline constexpr u64 magic{0}, version{8}, capacity{16}, grain_size{24}, table_size{32}, flags{40},
    volatile_header{80}, volatile_header_size{88}, directory{128}, directory_size{136}, tables{144},
    tables_size{152}, grains{192}, grains_size{200};
inline constexpr u64 volatile_magic{0}, replay_journal{24};
}  // namespace at
inline constexpr u64 grain_sectors{8}, table_sectors{64};
inline constexpr u64 directory_kind_mask{0xffffffff00000000}, directory_allocated{0x1000000000000000};
inline constexpr u64 entry_kind_mask{u64{0xf} << 60}, entry_unmapped{u64{1} << 60}, entry_zero{u64{2} << 60},
    entry_allocated{u64{3} << 60};
}  // namespace sesparse

// Our bounds.
inline constexpr u64 largest_capacity{u64{1} << 50};  // sectors
inline constexpr u64 largest_grain{32768}, largest_directory_bytes{8 * MiB}, largest_descriptor_bytes{1 * MiB};
inline constexpr std::size_t most_extents{4096};
inline constexpr u64 split_extent{4192256};  // sectors, as VMware cuts twoGbMaxExtent disks
inline constexpr u32 no_parent{0xffffffff};

}  // namespace vireo::image::vmdk
