#pragma once

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

  /// In one window a page runs at one address only, so that what the tables remember there stays true. To be
  /// told before its code runs there. False: it ran at another one; clear the window first.
  [[gnu::always_inline]] bool runs_at(u8 window, PageCode& page, u64 linear) {
    if (!page.relative) return true;
    auto const stamp = uses_[window].stamp;
    if (page.place_stamps[window] == stamp) return page.places[window] == linear;
    page.place_stamps[window] = stamp;
    page.places[window] = linear;
    mmu_.window_at(window).slots[page.slot] = linear;
    return true;
  }

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
  struct Use {
    // As many as there are entries; which of them lead somewhere. Memory that is taken as it is touched.
    std::unique_ptr<u16[]> jumps;
    std::unique_ptr<u32[]> slots;
    u32 jump_count{}, slot_count{};
    u32 stamp{};             // of PageCode::place_stamps
    u16 mode{unknown_mode};  // of all code that the tables lead to
    bool ready{};
  };

  Mmu& mmu_;
  u64 no_jump_{}, no_slot_{};
  static constexpr u32 first_slot{1};  // 0: none
  u32 slots_used_{first_slot};
  u32 last_stamp_{};
  std::array<Use, Windows::count> uses_;
};

}  // namespace vireo::engine::soft::translate
