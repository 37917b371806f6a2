#include <algorithm>

#include "engine/soft/translate/translator.h"

// REP MOVS and REP STOS from translated code, page by page. Compiled without vector registers: the guest's are
// live.
namespace vireo::engine::soft::translate {

namespace {

// SOUND: `count` elements of `size` bytes lie in guest memory at each pointer; the host's REP moves one after
// the other, so overlapping operands give what the guest's REP gives. DF is clear in the host by its ABI.
void move_up(std::byte* to, std::byte const* from, u64 count, u32 size) {
  switch (size) {
    case 1: asm volatile("rep movsb" : "+D"(to), "+S"(from), "+c"(count)::"memory"); return;
    case 2: asm volatile("rep movsw" : "+D"(to), "+S"(from), "+c"(count)::"memory"); return;
    case 4: asm volatile("rep movsl" : "+D"(to), "+S"(from), "+c"(count)::"memory"); return;
    default: asm volatile("rep movsq" : "+D"(to), "+S"(from), "+c"(count)::"memory"); return;
  }
}
void fill(std::byte* to, u64 value, u64 count, u32 size) {
  switch (size) {
    case 1: asm volatile("rep stosb" : "+D"(to), "+c"(count) : "a"(value) : "memory"); return;
    case 2: asm volatile("rep stosw" : "+D"(to), "+c"(count) : "a"(value) : "memory"); return;
    case 4: asm volatile("rep stosl" : "+D"(to), "+c"(count) : "a"(value) : "memory"); return;
    default: asm volatile("rep stosq" : "+D"(to), "+c"(count) : "a"(value) : "memory"); return;
  }
}

template <typename T>
void move_down(std::byte* to, std::byte const* from, u64 count) {
  for (auto at = count; at-- > 0;) {
    store_le<T>(to + at * sizeof(T), load_le<T>(from + at * sizeof(T)));
    // SOUND: no instruction; each element is stored before the next is read.
    asm volatile("" ::: "memory");
  }
}
/// From the last element to the first.
void move_down(std::byte* to, std::byte const* from, u64 count, u32 size) {
  switch (size) {
    case 1: return move_down<u8>(to, from, count);
    case 2: return move_down<u16>(to, from, count);
    case 4: return move_down<u32>(to, from, count);
    default: return move_down<u64>(to, from, count);
  }
}

/// How many elements from `linear` on, up or down, lie in its page.
u64 elements_in_page(u64 linear, u32 size, bool down) {
  auto const offset = linear % page_size;
  if (!down) return (page_size - offset) / size;
  return offset + size <= page_size ? offset / size + 1 : 0;
}

}  // namespace

/// Where guest memory lies that needs no more than a look into the page tables, or null.
std::byte* Translator::reach(u64 linear, u32 bytes, Access access) {
  auto const index = Window::index(linear);
  auto const writes = access == Access::write;
  auto const& window = cpu_.mmu.window_at(window_number_);
  auto const tag = writes ? window.writes[index].tag : window.tlb[index].read;
  if (!in_page(tag, linear, bytes)) return cpu_.mmu.refill(linear, bytes, access, cpu_.rights());
  // SOUND: the tag says that the page lies in guest memory.
  return reinterpret_cast<std::byte*>(linear +
                                      (writes ? window.writes[index].distance : window.tlb[index].distance));
}

/// 0 with the registers as far as it has come: the interpreter goes on, to a fault, a device, or attention.
u64 Translator::repeat_string(Context* context, SavedRegisters& registers, u32 number) {
  auto& self = *context->translator;
  auto const& state = self.cpu_.state;
  auto const& insn = self.cache_->interpreted[self.cache_->sites[number].interpreted].instruction;
  auto const size = u32{insn.operands[0].size};
  auto const reads = insn.operation == x86::Operation::movs;
  auto const down = (state.rflags & x86::flag_df) != 0;
  auto const mask = insn.address_size == 8 ? ~u64{} : u64{~u32{}};
  auto const segment = insn.memory.segment;
  auto const base = reads && segment >= x86::SegmentRegister::fs ? state.seg(segment).base : 0;
  auto const cut = [&] {
    registers.rcx &= mask;
    registers.rdi &= mask;
    if (reads) registers.rsi &= mask;
  };
  for (cut(); registers.rcx != 0; cut()) {
    if (context->wanted()) return 0;
    auto const to = registers.rdi;
    auto const from = (registers.rsi + base) & mask;
    auto count = std::min(registers.rcx, elements_in_page(to, size, down));
    if (reads) count = std::min(count, elements_in_page(from, size, down));
    if (count == 0 || (self.verifier_ != nullptr && count != registers.rcx)) return 0;
    auto const bytes = count * size;
    auto const below = down ? bytes - size : 0;
    auto* const target = self.reach(to - below, static_cast<u32>(bytes), Access::write);
    if (target == nullptr) return 0;
    if (reads) {
      auto const* const source = self.reach(from - below, static_cast<u32>(bytes), Access::read);
      if (source == nullptr) return 0;
      if (down)
        move_down(target, source, count, size);
      else
        move_up(target, source, count, size);
      registers.rsi += down ? -bytes : bytes;
    } else {
      fill(target, registers.rax, count, size);
    }
    registers.rdi += down ? -bytes : bytes;
    registers.rcx -= count;
  }
  return 1;
}

}  // namespace vireo::engine::soft::translate
