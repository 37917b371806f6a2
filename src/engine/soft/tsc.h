#pragma once

#include <x86intrin.h>

#include "vocab/integers.h"

namespace vireo::engine::soft {

inline u64 host_tsc() { return __rdtsc(); }

/// Ticks per second of the host's TSC: what the host's CPUID says when the clock confirms it within 0.1 %, or
/// else measured against CLOCK_MONOTONIC. Determined once, in about 10 ms.
u64 host_tsc_hz();

/// How a TSC of `hz` is told to guests, the same everywhere.
struct TscDescription {
  u64 hz{};
  u32 khz{};
  u32 crystal_ratio{};  // CPUID 0x15 EBX/1: TSC ticks per crystal tick; the local APIC's timer counts crystal
                        // ticks
  u32 crystal_hz{};     // CPUID 0x15 ECX
  u32 nanoseconds_multiplier{};  // pvclock: ns = ((tsc shifted left by `shift`) * multiplier) >> 32
  i8 shift{};
};
TscDescription describe_tsc(u64 hz);
/// describe_tsc(host_tsc_hz()), made once.
TscDescription const& host_tsc_description();

u64 nanoseconds_from_tsc(TscDescription const& tsc, u64 ticks);
u64 tsc_from_nanoseconds(TscDescription const& tsc, u64 ns);

}  // namespace vireo::engine::soft
