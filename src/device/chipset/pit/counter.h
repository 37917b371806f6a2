#pragma once

#include <array>
#include <optional>
#include <type_traits>

#include "device/chipset/pit/spec.h"

namespace vireo::device {

/// One counter of an 8254. Nothing runs: what it shows follows from the time at which counting began.
struct PitCounter {
  u64 start_ns{};      // when counting began, gate pauses taken out
  u64 paused_ns{};     // elapsed time when the gate fell
  u32 count{0x10000};  // in clocks
  u16 count_latch{};
  u8 status_latch{};
  u8 count_latched{};  // bytes of the latched count still to be read
  u8 status_latched{};
  u8 access{pit_spec::LowThenHigh};
  u8 mode{pit_spec::SquareWave};
  u8 bcd{};
  u8 low_byte{};    // first half of a count being written
  u8 write_high{};  // the high byte comes next
  u8 read_high{};
  u8 loaded{};    // a count was written since the control word
  u8 counting{};  // began: by loading, or by the gate in modes 1 and 5
  u8 gate{1};
  std::array<u8, 6> reserved{};  // pads the saved layout

  void control(u8 word);
  void write(u8 value, u64 now);
  u8 read(u64 now);
  void latch_count(u64 now);
  void latch_status(u64 now);
  void set_gate(bool high, u64 now);
  bool output(u64 now) const;
  /// When the output goes from low to high the next time after `now`.
  std::optional<u64> next_rise(u64 now) const;
  bool sound() const;

 private:
  u64 elapsed_ns(u64 now) const;
  u64 ticks(u64 now) const;
  u16 current(u64 now) const;
  void load(u16 raw, u64 now);
};
static_assert(std::has_unique_object_representations_v<PitCounter>);

}  // namespace vireo::device
