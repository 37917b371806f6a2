#pragma once

#include "vocab/integers.h"

namespace vireo::x86 {

/// Bits 63 to 48 as copies of bit 47: addresses of 48 bits (SDM vol. 1, 3.3.7.1).
[[gnu::always_inline]] constexpr u64 canonical_form(u64 linear) {
  return static_cast<u64>(static_cast<i64>(linear << 16) >> 16);
}
[[gnu::always_inline]] constexpr bool is_canonical(u64 linear) { return canonical_form(linear) == linear; }

}  // namespace vireo::x86
