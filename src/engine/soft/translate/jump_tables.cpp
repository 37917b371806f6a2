#include "engine/soft/translate/jump_tables.h"

#include <algorithm>

namespace vireo::engine::soft::translate {

void JumpTables::prepare(u8 window, u16 key) {
  auto& use = uses_[window];
  if (!use.ready || use.mode != key) clear(window);
  use.mode = key;
}

void JumpTables::clear(u8 number) {
  auto& window = mmu_.window_at(number);
  auto& use = uses_[number];
  auto const no_jump = Window::Jump{~u64{}, no_jump_};
  if (!use.ready) {
    if (use.jumps == nullptr) {
      use.jumps = std::make_unique_for_overwrite<u16[]>(Window::jump_entries);
      use.slots = std::make_unique_for_overwrite<u32[]>(Window::slot_entries);
    }
    window.jumps.fill(no_jump);
    std::fill_n(window.slots.begin(), slots_used_, no_slot_);
    use.ready = true;
  } else {
    for (auto i = 0u; i < use.jump_count; ++i) window.jumps[use.jumps[i]] = no_jump;
    for (auto i = 0u; i < use.slot_count; ++i) window.slots[use.slots[i]] = no_slot_;
  }
  use.jump_count = use.slot_count = 0;
  use.stamp = ++last_stamp_;
}

void JumpTables::clear_all() {
  for (auto window = u8{0}; window < Windows::count; ++window) {
    clear_if_ready(window);
  }
}

void JumpTables::forget_all() {
  for (auto& use : uses_) use.ready = false;
  slots_used_ = first_slot;
}

u32 JumpTables::new_slot() {
  auto const slot = slots_used_++;
  for (auto window = u8{0}; window < Windows::count; ++window) {
    if (uses_[window].ready) mmu_.window_at(window).slots[slot] = no_slot_;
  }
  return slot;
}

}  // namespace vireo::engine::soft::translate
