#pragma once

#include <algorithm>
#include <array>
#include <memory>

#include "engine/soft/mmu/mmu.h"
#include "engine/soft/translate/block.h"
#include "engine/soft/translate/region.h"

namespace vireo::engine::soft::translate {

/// The tables behind the TLB of each window that translated code jumps through: the jump cache, for targets in
/// registers and memory, and the slots, for direct jumps to other pages. Entries that lead nowhere lead to C++.
/// What is inline may run with guest values in the vector registers.
class JumpTables {
 public:
  static constexpr u32 jump_mask{(Window::jump_entries - 1) * sizeof(Window::Jump)};

  explicit JumpTables(Mmu& mmu) : mmu_{mmu} {}
  /// Where empty entries lead: addresses of code.
  void begin(u64 no_jump, u64 no_slot) { no_jump_ = no_jump, no_slot_ = no_slot; }

  /// Before code with this key runs in the window.
  void prepare(u8 window, u16 key);
  bool ready(u8 window, u16 key) const { return uses_[window].ready && uses_[window].mode == key; }
  void clear(u8 window);
  void clear_if_ready(u8 window) {
    if (uses_[window].ready) clear(window);
  }
  void clear_all();
  /// When all code has gone: slots are numbered anew.
  void forget_all();

  /// A slot in all windows.
  u32 new_slot();
  u32 slots_left() const { return Window::slot_entries - slots_used_; }

  /// In one window a page runs at one address only, so that what the tables remember there stays true. False:
  /// it ran at another one; clear the window first.
  [[gnu::always_inline]] bool same_delta(u8 window, PageCode& page, u64 delta) {
    if (!page.relative) return true;
    auto& use = uses_[window];
    if (page.delta_stamps[window] == use.stamp) return page.deltas[window] == delta;
    page.delta_stamps[window] = use.stamp;
    page.deltas[window] = delta;
    note_distance(use, page.linear + delta, delta);
    return true;
  }
  /// Pages of one program or library should agree about their distance, or direct jumps between them cannot
  /// be linked.
  u64 likely_delta(u8 window, u64 page_linear) const;

  static constexpr u32 jump_index(u64 linear) { return linear & (Window::jump_entries - 1); }
  [[gnu::always_inline]] void set_jump(u8 window, u64 linear, u64 code) {
    auto const index = jump_index(linear);
    if (index == 0) return;  // leads out when somebody wants the vCPU
    auto& entry = mmu_.window_at(window).jumps[index];
    auto& use = uses_[window];
    if (entry.code == no_jump_) use.jumps[use.jump_count++] = static_cast<u16>(index);
    entry = {linear, code};
  }
  [[gnu::always_inline]] void set_slot(u8 window, u32 slot, u64 code) {
    auto& entry = mmu_.window_at(window).slots[slot];
    auto& use = uses_[window];
    if (entry == no_slot_) use.slots[use.slot_count++] = slot;
    entry = code;
  }

 private:
  static_assert(Window::jump_entries <= 0x1'0000);
  static constexpr u16 unknown_mode{0xffff};
  /// Pages that ran at one distance from where they were translated.
  struct Distance {
    u64 low{}, high{};  // linear addresses of the first and the last of them
    u64 delta{};
  };
  static constexpr u64 farthest{64 * MiB};
  struct Use {
    // As many as there are entries; which of them lead somewhere. Memory that is taken as it is touched.
    std::unique_ptr<u16[]> jumps;
    std::unique_ptr<u32[]> slots;
    u32 jump_count{}, slot_count{};
    u32 stamp{};             // of PageCode::delta_stamps
    u16 mode{unknown_mode};  // of all code that the tables lead to
    bool ready{};
    std::array<Distance, 16> distances{};
    u32 distance_count{};
  };

  [[gnu::always_inline]] static void note_distance(Use& use, u64 linear, u64 delta) {
    constexpr auto most = std::tuple_size_v<decltype(use.distances)>;
    for (auto i = u32{}; i < std::min<u32>(use.distance_count, most); ++i) {
      auto& known = use.distances[i];
      if (known.delta != delta || linear + farthest < known.low || linear > known.high + farthest) continue;
      known.low = linear < known.low ? linear : known.low;
      known.high = linear > known.high ? linear : known.high;
      return;
    }
    use.distances[use.distance_count++ % most] = {linear, linear, delta};
  }

  Mmu& mmu_;
  u64 no_jump_{}, no_slot_{};
  u32 slots_used_{};
  u32 last_stamp_{};
  std::array<Use, Windows::count> uses_;
};

}  // namespace vireo::engine::soft::translate
