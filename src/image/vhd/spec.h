#pragma once

#include <string_view>

#include "vocab/integers.h"
#include "vocab/numbers.h"

// Microsoft, Virtual Hard Disk Image Format Specification 1.0 (2006): all numbers big-endian, offsets in bytes.
namespace vireo::image::vhd {

inline constexpr std::string_view footer_cookie{"conectix"}, dynamic_cookie{"cxsparse"};
inline constexpr u32 version_1_0{0x00010000};
inline constexpr u64 no_offset{~u64{0}};

enum class DiskType : u32 { fixed = 2, dynamic = 3, differencing = 4 };

namespace footer_at {  // "Hard Disk Footer Format"
inline constexpr u64 cookie{0}, features{8}, version{12}, data_offset{16}, time_stamp{24}, creator{28},
    creator_version{32}, creator_host{36}, original_size{40}, current_size{48}, cylinders{56}, heads{58},
    sectors_per_track{59}, disk_type{60}, checksum{64}, unique_id{68};
}  // namespace footer_at
inline constexpr u64 footer_bytes{512};
inline constexpr u32 feature_reserved{2};                   // always set
inline constexpr i64 time_zero{946684800};                  // 2000-01-01 UTC in Unix time
inline constexpr std::string_view creator_by_size{"win "};  // readers then take the size, not the geometry
inline constexpr u32 creator_version{0x000a0000};
inline constexpr std::string_view host_windows{"Wi2k"};

namespace dynamic_at {  // "Dynamic Disk Header Format"
inline constexpr u64 cookie{0}, data_offset{8}, table_offset{16}, version{24}, max_table_entries{28},
    block_size{32}, checksum{36}, parent_id{40}, parent_time_stamp{56}, parent_name{64}, locators{576};
}  // namespace dynamic_at
inline constexpr u64 dynamic_bytes{1024};
inline constexpr u64 parent_name_units{256};

namespace locator_at {  // "Parent Locator Entry"
inline constexpr u64 platform_code{0}, data_space{4}, data_length{8}, data_offset{16};
}
inline constexpr u64 locator_entry_bytes{24};
inline constexpr u64 locators{8};
namespace platform {
inline constexpr u32 relative_utf16{0x57327275} /* W2ru */, absolute_utf16{0x57326b75} /* W2ku */,
    mac_url{0x4d616358} /* MacX */;
}

inline constexpr u32 entry_absent{0xffffffff};
inline constexpr u64 largest_disk{2040 * GiB};
inline constexpr u64 largest_geometry_sectors{u64{65535} * 16 * 255};

// Our bounds.
inline constexpr u32 smallest_block{512}, largest_block{64 * MiB};
inline constexpr u32 most_entries{1u << 26};
inline constexpr u32 longest_locator{64 * KiB};

}  // namespace vireo::image::vhd
