#include "device/chipset/pit/counter.h"

#include <algorithm>

namespace vireo::device {

using namespace pit_spec;

namespace {

constexpr u64 ns_per_second{1'000'000'000};

u16 to_bcd(u32 value) {
  return static_cast<u16>(value / 1000 % 10 << 12 | value / 100 % 10 << 8 | value / 10 % 10 << 4 | value % 10);
}
u32 from_bcd(u32 raw) {
  return (raw >> 12 & 0xF) * 1000 + (raw >> 8 & 0xF) * 100 + (raw >> 4 & 0xF) * 10 + (raw & 0xF);
}
/// The first nanosecond at which `clocks` have passed.
u64 ns_of(u64 clocks) { return static_cast<u64>((u128{clocks} * ns_per_second + input_hz - 1) / input_hz); }

}  // namespace

bool PitCounter::sound() const {
  auto const flags = {status_latched, write_high, read_high, loaded, counting, gate, bcd};
  return start_ns >> 62 == 0 && paused_ns >> 62 == 0 && count >= 1 && count <= 0x10000 &&
         mode <= HardwareStrobe && access >= LowByte && access <= LowThenHigh && count_latched <= 2 &&
         reserved == decltype(reserved){} &&
         std::all_of(flags.begin(), flags.end(), [](u8 flag) { return flag <= 1; });
}

u64 PitCounter::elapsed_ns(u64 now) const {
  if (gate == 0 && mode != HardwareOneShot && mode != HardwareStrobe) return paused_ns;
  return now > start_ns ? now - start_ns : 0;
}

u64 PitCounter::ticks(u64 now) const {
  return static_cast<u64>(u128{elapsed_ns(now)} * input_hz / ns_per_second);
}

u16 PitCounter::current(u64 now) const {
  auto value = count;
  if (counting != 0) {
    auto const passed = ticks(now);
    if (mode == RateGenerator) {
      value = count - static_cast<u32>(passed % count);
    } else if (mode == SquareWave) {
      value = (count & ~1U) - static_cast<u32>(2 * passed % std::max(count & ~1U, 2U));
    } else {
      auto const modulus = bcd != 0 ? 10'000U : 0x10000U;
      value = static_cast<u32>((count % modulus + modulus - passed % modulus) % modulus);
    }
  }
  return bcd != 0 ? to_bcd(value) : static_cast<u16>(value);
}

bool PitCounter::output(u64 now) const {
  if (counting == 0) return mode != InterruptOnTerminalCount;
  auto const passed = ticks(now);
  switch (mode) {
    case InterruptOnTerminalCount:
    case HardwareOneShot: return passed >= count;
    case RateGenerator: return gate == 0 || passed % count != count - 1;
    case SquareWave: return gate == 0 || passed % count < (count + 1) / 2;
    default: return passed != count;
  }
}

std::optional<u64> PitCounter::next_rise(u64 now) const {
  if (counting == 0 || (gate == 0 && mode != HardwareOneShot && mode != HardwareStrobe)) return std::nullopt;
  auto const passed = ticks(now);
  switch (mode) {
    case InterruptOnTerminalCount:
    case HardwareOneShot:
      if (passed >= count) return std::nullopt;
      return start_ns + ns_of(count);
    case RateGenerator:
    case SquareWave: return start_ns + ns_of((passed / count + 1) * count);
    default:
      if (passed > count) return std::nullopt;
      return start_ns + ns_of(u64{count} + 1);
  }
}

void PitCounter::control(u8 word) {
  auto const kept_gate = gate;
  *this = {};
  gate = kept_gate;
  access = word >> 4 & 3;
  mode = word >> 1 & 7;
  if (mode > HardwareStrobe) mode = static_cast<u8>(mode - 4);  // "don't care" bit of modes 2 and 3
  bcd = word & 1;
}

void PitCounter::load(u16 raw, u64 now) {
  auto const value = bcd != 0 ? from_bcd(raw) : u32{raw};
  count = value != 0 ? value : bcd != 0 ? 10'000 : 0x10000;
  if (count == 1 && (mode == RateGenerator || mode == SquareWave)) count = 2;  // a count of 1 is illegal there
  loaded = 1;
  if (mode == HardwareOneShot || mode == HardwareStrobe) return;
  counting = 1;
  start_ns = now;
  paused_ns = 0;
}

void PitCounter::write(u8 value, u64 now) {
  if (access == LowByte) return load(value, now);
  if (access == HighByte) return load(static_cast<u16>(value << 8), now);
  if (write_high == 0) {
    low_byte = value;
    write_high = 1;
    if (mode == InterruptOnTerminalCount) counting = 0;  // the first byte stops the count
    return;
  }
  write_high = 0;
  load(static_cast<u16>(value << 8 | low_byte), now);
}

u8 PitCounter::read(u64 now) {
  if (status_latched != 0) {
    status_latched = 0;
    return status_latch;
  }
  auto const value = count_latched != 0 ? count_latch : current(now);
  auto const high = access == HighByte || (access == LowThenHigh && read_high != 0);
  if (access == LowThenHigh) read_high ^= 1;
  if (count_latched != 0) --count_latched;
  return static_cast<u8>(high ? value >> 8 : value);
}

void PitCounter::latch_count(u64 now) {
  if (count_latched != 0) return;
  count_latch = current(now);
  count_latched = access == LowThenHigh ? 2 : 1;
  read_high = 0;
}

void PitCounter::latch_status(u64 now) {
  if (status_latched != 0) return;
  status_latched = 1;
  status_latch = static_cast<u8>((output(now) ? Output : 0) | (loaded == 0 ? NullCount : 0) | access << 4 |
                                 mode << 1 | bcd);
}

void PitCounter::set_gate(bool high, u64 now) {
  if (high == (gate != 0)) return;
  auto const triggered = mode == HardwareOneShot || mode == HardwareStrobe;
  if (!high && !triggered) paused_ns = elapsed_ns(now);
  gate = high ? 1 : 0;
  if (!high) return;
  if (triggered && loaded != 0) {
    counting = 1;
    start_ns = now;
  } else if (mode == RateGenerator || mode == SquareWave) {
    start_ns = now;
  } else if (!triggered) {
    start_ns = now - std::min(paused_ns, now);
  }
}

}  // namespace vireo::device
