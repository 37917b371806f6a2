#pragma once

#include "vocab/integers.h"
#include "vocab/numbers.h"

// VirtualBox's Virtual Disk Image 1.1, as documented in its VDICore.h: all numbers little-endian, offsets in
// bytes from the start of the file.
namespace vireo::image::vdi {

inline constexpr u32 signature{0xbeda107f};
inline constexpr u32 version_1_1{0x00010001};

enum class ImageType : u32 { dynamic = 1, fixed = 2, undo = 3, differencing = 4 };

namespace header_at {  // byte offsets
inline constexpr u64 text{0}, signature{0x40}, version{0x44}, header_size{0x48}, image_type{0x4c},
    image_flags{0x50}, description{0x54}, offset_blocks{0x154}, offset_data{0x158}, sector_size{0x168},
    disk_size{0x170}, block_size{0x178}, block_extra{0x17c}, blocks{0x180}, blocks_allocated{0x184},
    image_uuid{0x188}, modification_uuid{0x198}, parent_uuid{0x1a8}, parent_modification_uuid{0x1b8},
    lchs_sector_size{0x1d4};
}  // namespace header_at
inline constexpr u64 header_bytes{512};
inline constexpr u32 header_size_1_1{400};  // counted from header_at::header_size

inline constexpr u32 entry_absent{0xffffffff}, entry_zero{0xfffffffe};

// Our bounds.
inline constexpr u32 smallest_block{512}, largest_block{64 * MiB}, largest_extra{1 * MiB};
inline constexpr u32 most_blocks{1u << 26};  // 64 TiB of 1 MiB blocks

}  // namespace vireo::image::vdi
