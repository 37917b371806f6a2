#pragma once

#include "image/unique_id.h"
#include "vocab/integers.h"
#include "vocab/numbers.h"

// Microsoft's [MS-VHDX] "Virtual Hard Disk v2 (VHDX) File Format". Numbers are little-endian, offsets in bytes.
namespace vireo::image::vhdx {

/// As a GUID is written: {first-second-third-last}.
constexpr UniqueId guid(u32 first, u16 second, u16 third, u64 last) {
  auto id = UniqueId{};
  for (auto at = 0u; at < 4; ++at) id[at] = static_cast<std::byte>(first >> (at * 8));
  for (auto at = 0u; at < 2; ++at) id[4 + at] = static_cast<std::byte>(second >> (at * 8));
  for (auto at = 0u; at < 2; ++at) id[6 + at] = static_cast<std::byte>(third >> (at * 8));
  for (auto at = 0u; at < 8; ++at) id[8 + at] = static_cast<std::byte>(last >> (56 - at * 8));
  return id;
}

// 2.2 Header section
inline constexpr u64 file_signature{0x656c696678646876};  // "vhdxfile"
inline constexpr u64 header_section{1 * MiB}, first_header{64 * KiB}, second_header{128 * KiB},
    first_region_table{192 * KiB}, second_region_table{256 * KiB};
inline constexpr u64 creator_at{8}, creator_bytes{512};
namespace header_at {
inline constexpr u32 signature_value{0x64616568};  // "head"
inline constexpr u64 signature{0}, checksum{4}, sequence{8}, file_write{16}, data_write{32}, log{48},
    log_version{64}, version{66}, log_length{68}, log_offset{72};
inline constexpr u64 length{4096};
}  // namespace header_at

// 2.2.3 Region table
namespace region_at {
inline constexpr u32 signature_value{0x69676572};  // "regi"
inline constexpr u64 signature{0}, checksum{4}, count{8}, entries{16};
inline constexpr u64 entry_bytes{32}, entry_offset{16}, entry_length{24}, entry_required{28};
inline constexpr u64 length{64 * KiB};
inline constexpr u32 most_entries{2047};
}  // namespace region_at
inline constexpr auto bat_region = guid(0x2dc27766, 0xf623, 0x4200, 0x9d64115e9bfd4a08);
inline constexpr auto metadata_region = guid(0x8b7ca206, 0x4790, 0x4b9a, 0xb8fe575f050f886e);

// 2.3 Log
namespace log_at {
inline constexpr u32 entry_signature{0x65676f6c};   // "loge"
inline constexpr u32 zero_signature{0x6f72657a};    // "zero"
inline constexpr u32 data_signature{0x63736564};    // "desc"
inline constexpr u32 sector_signature{0x61746164};  // "data"
inline constexpr u64 signature{0}, checksum{4}, entry_length{8}, tail{12}, sequence{16}, descriptors{24},
    log{32}, flushed_file{48}, last_file{56};
inline constexpr u64 header_bytes{64}, descriptor_bytes{32};
inline constexpr u64 trailing{4}, leading{8}, zero_length{8}, file_offset{16}, descriptor_sequence{24};
inline constexpr u64 sector_sequence_high{4}, sector_data{8}, sector_sequence_low{4092};
inline constexpr u64 sector{4096};
}  // namespace log_at

// 2.5 Block allocation table
enum class PayloadState : u8 {
  not_present = 0,
  undefined = 1,
  zero = 2,
  unmapped = 3,
  fully_present = 6,
  partially_present = 7
};
namespace bat_entry {
inline constexpr u64 state_mask{7}, offset_mask{~u64{0xfffff}};
inline constexpr u64 bitmap_present{6};
}  // namespace bat_entry
inline constexpr u64 sectors_per_chunk{u64{1} << 23};
inline constexpr u64 bitmap_block{1 * MiB};

// 2.6 Metadata
namespace metadata_at {
inline constexpr u64 signature_value{0x617461646174656d};  // "metadata"
inline constexpr u64 signature{0}, count{10}, entries{32};
inline constexpr u64 entry_bytes{32}, entry_offset{16}, entry_length{20}, entry_flags{24};
inline constexpr u64 table_bytes{64 * KiB};
inline constexpr u32 most_entries{1023};
inline constexpr u32 is_user{1}, is_virtual_disk{2}, is_required{4};
}  // namespace metadata_at
namespace item {
inline constexpr auto file_parameters = guid(0xcaa16737, 0xfa36, 0x4d43, 0xb3b633f0aa44e76b);
inline constexpr auto disk_size = guid(0x2fa54224, 0xcd1b, 0x4876, 0xb2115dbed83bf4b8);
inline constexpr auto page_83 = guid(0xbeca12ab, 0xb2e6, 0x4523, 0x93efc309e000c746);
inline constexpr auto logical_sector = guid(0x8141bf1d, 0xa96f, 0x4709, 0xba47f233a8faab5f);
inline constexpr auto physical_sector = guid(0xcda348c7, 0x445d, 0x4471, 0x9cc9e9885251c556);
inline constexpr auto parent_locator = guid(0xa8d35f2d, 0xb30b, 0x454d, 0xabf7d3d84834ab0c);
}  // namespace item
inline constexpr u32 leave_blocks_allocated{1}, has_parent{2};
inline constexpr auto vhdx_locator = guid(0xb04aefb7, 0xd19e, 0x4a81, 0xb78925b8e9445913);

// The document's bounds, and ours.
inline constexpr u64 smallest_block{1 * MiB}, largest_block{256 * MiB}, largest_disk{u64{64} << 40};
inline constexpr u64 largest_log{64 * MiB}, largest_locator{64 * KiB};
inline constexpr u64 largest_file{u64{1} << 50};

}  // namespace vireo::image::vhdx
