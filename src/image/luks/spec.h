#pragma once

#include "vocab/integers.h"
#include "vocab/numbers.h"

// LUKS1 On-Disk Format Specification 1.2.3: numbers big-endian, places in sectors of 512 bytes.
namespace vireo::image::luks {

inline constexpr char magic[6]{'L', 'U', 'K', 'S', '\xba', '\xbe'};
inline constexpr u64 sector{512};

namespace header_at {  // "partition header"
inline constexpr u64 magic{0}, version{6}, cipher_name{8}, cipher_mode{40}, hash{72}, payload_offset{104},
    key_bytes{108}, digest{112}, digest_salt{132}, digest_iterations{164}, uuid{168}, slots{208}, end{592};
inline constexpr u64 text{32}, uuid_text{40};
}  // namespace header_at
namespace slot_at {
inline constexpr u64 active{0}, iterations{4}, salt{8}, material{40}, stripes{44}, size{48};
}
inline constexpr u32 slot_enabled{0x00ac71f3}, slot_disabled{0x0000dead};
inline constexpr u64 slot_count{8}, salt_bytes{32}, digest_bytes{20};
inline constexpr u32 stripe_count{4000};

// Ours: what a hostile header may ask for. 64 million rounds take some ten seconds.
inline constexpr u64 smallest_key{16}, largest_key{64};
inline constexpr u32 most_iterations{64'000'000}, fewest_iterations{1000};
inline constexpr u64 largest_header{64 * MiB};
inline constexpr u64 material_alignment{4096};

}  // namespace vireo::image::luks
