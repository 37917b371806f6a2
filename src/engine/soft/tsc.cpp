#include "engine/soft/tsc.h"

#include <cpuid.h>
#include <time.h>

#include <algorithm>

namespace vireo::engine::soft {
namespace {

constexpr u64 second_ns{1'000'000'000};

u64 monotonic_ns() {
  auto now = timespec{};
  clock_gettime(CLOCK_MONOTONIC, &now);
  return static_cast<u64>(now.tv_sec) * second_ns + static_cast<u64>(now.tv_nsec);
}

struct Moment {
  u64 tsc, ns;
};

// Both clocks at one moment: the reading with the shortest bracket of several.
Moment sample() {
  auto best = Moment{};
  auto best_bracket = ~u64{0};
  for (auto i = 0; i < 16; ++i) {
    auto const before = host_tsc();
    auto const ns = monotonic_ns();
    auto const bracket = host_tsc() - before;
    if (bracket < best_bracket) {
      best_bracket = bracket;
      best = {before + bracket / 2, ns};
    }
  }
  return best;
}

u64 measured_hz() {
  auto const start = sample();
  auto const pause = timespec{.tv_sec = 0, .tv_nsec = 10'000'000};
  nanosleep(&pause, nullptr);
  auto const end = sample();
  return static_cast<u64>(static_cast<u128>(end.tsc - start.tsc) * second_ns /
                          std::max<u64>(end.ns - start.ns, 1));
}

// SDM vol. 3, 19.7.3, and KVM's timing leaf. 0: the host does not say.
u64 enumerated_hz() {
  u32 eax{}, ebx{}, ecx{}, edx{};
  if (__get_cpuid_max(0, nullptr) >= 0x15) {
    __cpuid_count(0x15, 0, eax, ebx, ecx, edx);
    if (eax != 0 && ebx != 0 && ecx != 0) return u64{ecx} * ebx / eax;
  }
  __cpuid(1, eax, ebx, ecx, edx);
  if (!(ecx & 1u << 31)) return 0;
  __cpuid(0x40000000, eax, ebx, ecx, edx);
  if (eax < 0x40000010) return 0;
  __cpuid(0x40000010, eax, ebx, ecx, edx);
  return u64{eax} * 1000;
}

}  // namespace

u64 host_tsc_hz() {
  static auto const hz = [] {
    auto const measured = measured_hz();
    auto const enumerated = enumerated_hz();
    auto const difference = std::max(measured, enumerated) - std::min(measured, enumerated);
    return difference < measured / 1000 ? enumerated : measured;
  }();
  return hz;
}

TscDescription describe_tsc(u64 hz) {
  constexpr auto usual_crystal = u64{25'000'000};
  auto tsc = TscDescription{.hz = hz, .khz = static_cast<u32>(hz / 1000)};
  tsc.crystal_ratio = static_cast<u32>(std::max<u64>((hz + usual_crystal / 2) / usual_crystal, 1));
  tsc.crystal_hz = static_cast<u32>((hz + tsc.crystal_ratio / 2) / tsc.crystal_ratio);

  auto scaled = std::max<u64>(hz, 1);
  while (scaled > 2 * second_ns) scaled >>= 1, --tsc.shift;
  while (scaled <= second_ns) scaled <<= 1, ++tsc.shift;
  // The multiplier comes from the unshifted frequency: bits that the loop dropped would be an error in the
  // clock.
  auto const numerator = static_cast<u128>(second_ns) << (tsc.shift < 0 ? 32 - tsc.shift : 32);
  auto const divisor = static_cast<u128>(std::max<u64>(hz, 1)) << (tsc.shift > 0 ? tsc.shift : 0);
  tsc.nanoseconds_multiplier = static_cast<u32>(std::min<u128>(numerator / divisor, 0xffff'ffff));
  return tsc;
}

TscDescription const& host_tsc_description() {
  static auto const description = describe_tsc(host_tsc_hz());
  return description;
}

u64 nanoseconds_from_tsc(TscDescription const& tsc, u64 ticks) {
  return static_cast<u64>(static_cast<u128>(ticks) * second_ns / tsc.hz);
}

u64 tsc_from_nanoseconds(TscDescription const& tsc, u64 ns) {
  return static_cast<u64>(static_cast<u128>(ns) * tsc.hz / second_ns);
}

}  // namespace vireo::engine::soft
