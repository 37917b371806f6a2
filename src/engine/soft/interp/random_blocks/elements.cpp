#include "engine/soft/interp/random_blocks/elements.h"

#include <algorithm>

#include "engine/soft/interp/differential_rows.h"
#include "vocab/numbers.h"

namespace vireo::engine::soft::differential {
namespace {

constexpr u64 stack_depth{0x240}, above_stack{0x48};
constexpr u64 window{0xa0};  // around where a pointer points
constexpr u64 line{64};

}  // namespace

Elements::Elements(u64 seed, x86::CodeSize code_size, x86::CpuidModel const& model) : Values{seed, code_size} {
  for (auto const* row : user_rows(code_size, model))
    (row->family == x86::Family::vector ? vector_ : integer_).push_back(row);
}

/// Stack and pointers get their places, by preference at the border of the two pages.
void Elements::begin_program(u64 at, bool modifies_itself) {
  a_ = Assembler{code64(), at};
  modifies_itself_ = modifies_itself;
  may_fault_ = random_.one_in(2);
  patchable_.clear();
  zones_.clear();
  constexpr std::array<u64, 6> tops{0x1000, 0x1018, 0x1040, 0x0800, 0x1c00, 0x1ff8};
  stack_top_ = scratch_base + (random_.one_in(2) ? tops[random_.below(tops.size())]
                                                 : stack_depth + random_.below(0x1d00 / 8) * 8);
  auto const top = stack_top_ - scratch_base;
  zones_.push_back({top - std::min(top, stack_depth), top + above_stack});
  reserved_ = 1u << x86::rsp;
  constexpr std::array<u8, 4> low{x86::rbx, x86::rbp, x86::rsi, x86::rdi};
  constexpr std::array<u8, 7> high{8, 9, 10, 11, 13, 14, 15};
  pointers_[0].reg = code64() ? low[random_.below(low.size())] : u8{x86::rbx};
  pointers_[1].reg = code64() ? high[random_.below(high.size())] : u8{x86::rbp};
  for (auto& pointer : pointers_) {
    reserved_ |= 1u << pointer.reg;
    seat(pointer);
  }
  a_.mov_immediate(x86::rsp, stack_top_);
}

void Elements::seat(Pointer& pointer) {
  pointer.address = scratch_base + (free_offset(window, window) & ~(line - 1));
  a_.mov_immediate(pointer.reg, pointer.address);
}

void Elements::element() {
  struct Choice {
    u32 weight;
    void (Elements::*make)();
  };
  constexpr std::array choices{Choice{14, &Elements::arithmetic},
                               Choice{12, &Elements::move},
                               Choice{5, &Elements::one_operand},
                               Choice{4, &Elements::shift},
                               Choice{3, &Elements::multiply_or_divide},
                               Choice{4, &Elements::carry_chain},
                               Choice{8, &Elements::compare_then_use},
                               Choice{4, &Elements::bits},
                               Choice{4, &Elements::exchange},
                               Choice{7, &Elements::one_base_many_offsets},
                               Choice{8, &Elements::pushes_and_pops},
                               Choice{3, &Elements::stack_elsewhere},
                               Choice{4, &Elements::stack_pointer_as_operand},
                               Choice{4, &Elements::flags_through_stack},
                               Choice{4, &Elements::string},
                               Choice{16, &Elements::sampled},
                               Choice{2, &Elements::patch_code},
                               Choice{2, &Elements::fault}};
  auto total = u32{};
  for (auto const& choice : choices) total += choice.weight;
  auto drawn = random_.below(total);
  for (auto const& choice : choices) {
    if (drawn < choice.weight) return (this->*choice.make)();
    drawn -= choice.weight;
  }
}

u8 Elements::data_register() {
  while (true) {
    auto const reg = any_register();
    if (is_data(reg)) return reg;
  }
}

u8 Elements::width() {
  constexpr std::array<u8, 8> widths{1, 1, 2, 4, 4, 4, 8, 8};
  return std::min(widths[random_.below(widths.size())], wide());
}

/// AL is there always.
Gpr Elements::byte_register(bool data, bool may_be_high) {
  auto const high = may_be_high && random_.one_in(3);
  auto const end = may_be_high || !code64() ? u64{4} : u64{16};  // REX excludes AH..BH
  for (auto tries = 0; tries < 20; ++tries) {
    auto const reg = static_cast<u8>(random_.below(end));
    if (!data || is_data(reg)) return {reg, high};
  }
  return {x86::rax, high};
}

Gpr Elements::register_of(u8 width, bool data, bool may_be_high) {
  if (width == 1) return byte_register(data, may_be_high);
  return {data ? data_register() : any_register()};
}

u64 Elements::immediate(u8 width) {
  auto const any = random_.one_in(2) ? value() : random_.below(256) - 128;
  return width >= 4 ? static_cast<u64>(static_cast<i64>(static_cast<i32>(any))) : any;
}

/// Of an access that needs this much around it: outside of what must stay whole.
u64 Elements::free_offset(u64 before, u64 after) {
  for (auto tries = 0; tries < 40; ++tries) {
    auto const near_border = random_.one_in(4);
    auto const offset = near_border ? page_size - 0x40 + random_.below(0x80)
                                    : before + random_.below(writable_bytes - before - after);
    auto const hit = [&](Zone const& zone) {
      return offset + after > zone.begin && offset < zone.end + before;
    };
    if (std::ranges::none_of(zones_, hit)) return offset;
  }
  return zones_[0].begin > 0x800 ? 0x200 : 0x1a00;
}

Place Elements::place_at(Pointer const& chosen, u32 size, u32 alignment) {
  auto offset = static_cast<i64>(random_.below(0xc0)) - 0x60;
  auto const to_border = static_cast<i64>(scratch_base + page_size - chosen.address);
  if (random_.one_in(5) && to_border >= -0x100 && to_border <= 0x100 && size > 1)
    offset = to_border - 1 - static_cast<i64>(random_.below(size));  // across, or just before
  if (!random_.one_in(24)) offset &= ~i64{alignment - 1};
  return {.base = chosen.reg, .displacement = static_cast<i32>(offset)};
}

/// May emit moves that prepare it, but none that changes flags.
Place Elements::place(u32 size, bool store, u32 alignment) {
  auto const fixed = static_cast<i32>(scratch_base + (free_offset(0, size) & ~u64{alignment - 1}));
  auto const pointed = place_at_pointer(size, alignment);
  switch (random_.below(20)) {
    case 0:
    case 1:
    case 2: {  // with an index from memory or known
      auto const index = data_register();
      auto with_index = pointed;
      with_index.index = index;
      with_index.scale = static_cast<u8>(1 << random_.below(alignment > 8 ? 1 : 4));
      if (random_.one_in(2)) {
        a_.mov_immediate(index, random_.below(16) * alignment);
      } else {
        a_.modrm({.opcode = 0x0fb6, .byte_operand = true}, {index}, place_at_pointer(1, 1));
        if (alignment > 1) return pointed;
      }
      return with_index;
    }
    case 3: return {.displacement = fixed};
    case 4: return {.displacement = fixed, .relative = code64()};
    case 5:
    case 6: {
      auto const below = -8 * static_cast<i32>(1 + random_.below(16));
      auto const above = 8 * static_cast<i32>(random_.below(12));
      if (alignment > 8) return pointed;
      return {.base = x86::rsp, .displacement = store || random_.one_in(2) ? below : above};
    }
    case 7: {
      if (!code64()) return pointed;
      auto const fs = random_.one_in(2);
      auto const base = static_cast<i32>(fs ? fs_base_ : gs_base_);
      return {.displacement = fixed - base, .segment = static_cast<u8>(fs ? 0x64 : 0x65)};
    }
    case 8: {
      if (!code64()) return pointed;
      auto const base = data_register();
      a_.mov_immediate(base, (random_.number() | 1) << 32 | static_cast<u32>(fixed));
      return {.base = base, .narrow = true};
    }
    case 9: {
      auto const base = data_register();
      a_.mov_immediate(base, static_cast<u32>(fixed) - 0x70);
      return {.base = base, .displacement = 0x70};
    }
    case 10: {  // the page that is only for reading
      if (store) return pointed;
      auto const offset = writable_bytes + random_.below(0xf00) - (random_.one_in(3) ? random_.below(size) : 0);
      return {.displacement = static_cast<i32>(scratch_base + (offset & ~u64{alignment - 1}))};
    }
    default: return pointed;
  }
}

}  // namespace vireo::engine::soft::differential
