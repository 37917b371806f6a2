#pragma once

#include "vocab/integers.h"
#include "vocab/numbers.h"

// LUKS2 On-Disk Format Specification 1.1.2: numbers of the binary header big-endian, places in bytes.
namespace vireo::image::luks2 {

inline constexpr char first_magic[6]{'L', 'U', 'K', 'S', '\xba', '\xbe'};
inline constexpr char second_magic[6]{'S', 'K', 'U', 'L', '\xba', '\xbe'};

namespace header_at {  // 2.1 "binary header"
inline constexpr u64 magic{0}, version{6}, area_bytes{8}, sequence{16}, label{24}, checksum_name{72}, salt{104},
    uuid{168}, subsystem{208}, offset{256}, checksum{448}, end{512};
inline constexpr u64 label_text{48}, name_text{32}, salt_bytes{64}, uuid_text{40}, checksum_bytes{64};
}  // namespace header_at
inline constexpr u64 binary_bytes{4096};
inline constexpr u64 smallest_area{16 * KiB}, largest_area{4 * MiB};  // of one copy; powers of two between

// As cryptsetup makes them.
inline constexpr u64 usual_payload{16 * MiB};
inline constexpr u64 area_alignment{4096};
inline constexpr u64 salt_bytes{32};
inline constexpr u32 slot_count{32};

// Ours: what a hostile header may ask for. A pass over 1 GiB takes about half a second.
inline constexpr u32 most_memory_kib{1024 * 1024};    // cryptsetup's own limit when it makes a slot
inline constexpr u64 most_kib_passes{u64{32} << 20};  // of one slot: passes x memory
inline constexpr u64 most_kib_passes_of_all{u64{128} << 20};
inline constexpr u32 most_lanes{64};
inline constexpr u64 most_iterations_of_all{512'000'000};
inline constexpr u64 most_keyslots_bytes{128 * MiB};
inline constexpr u64 most_payload{u64{1} << 40};

}  // namespace vireo::image::luks2
