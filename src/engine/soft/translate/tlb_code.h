#pragma once

#include <cstddef>

#include "engine/soft/mmu/window.h"
#include "engine/soft/translate/context.h"

namespace vireo::engine::soft::translate {

/// The first-level TLB as translated code sees it. Entries are named by their offset in r11.
struct TlbCode {
  static_assert(sizeof(TlbEntry) == 32 && sizeof(TlbWriteEntry) == 16);
  static constexpr u8 index_shift{7}, write_index_shift{8};
  static constexpr i32 index_mask{(Window::tlb_entries - 1) * 32},
      write_index_mask{(Window::tlb_entries - 1) * 16};

  /// r11 = offset of the entry for the address in r10. The flags are lost.
  static void index(Emitter& out, bool write) {
    out.mov(Width::d, second_scratch, scratch);
    out.shift_imm(Shift::shr, Width::d, second_scratch, write ? write_index_shift : index_shift);
    out.alu_imm(Alu::and_, Width::d, second_scratch, write ? write_index_mask : index_mask);
  }
  static constexpr Mem tag(bool write) {
    return entry(write ? offsetof(Window, writes) + offsetof(TlbWriteEntry, tag)
                       : offsetof(Window, tlb) + offsetof(TlbEntry, read));
  }
  static constexpr Mem distance(bool write) {
    return entry(write ? offsetof(Window, writes) + offsetof(TlbWriteEntry, distance)
                       : offsetof(Window, tlb) + offsetof(TlbEntry, distance));
  }
  static constexpr Mem page() { return entry(offsetof(Window, tlb) + offsetof(TlbEntry, page)); }
  static constexpr Mem stack_tag(bool write) {
    return in_window(offsetof(Window, stack) +
                     (write ? offsetof(StackPages, write) : offsetof(StackPages, read)));
  }
  static constexpr Mem stack_distance(bool write) {
    return in_window(offsetof(Window, stack) +
                     (write ? offsetof(StackPages, write_distance) : offsetof(StackPages, read_distance)));
  }
  static constexpr Mem in_window(std::size_t offset) { return {.disp = static_cast<i32>(offset), .gs = true}; }

 private:
  static constexpr Mem entry(std::size_t offset) {
    return {.base = second_scratch, .disp = static_cast<i32>(offset), .gs = true};
  }
};

}  // namespace vireo::engine::soft::translate
