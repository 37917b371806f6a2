#include "engine/soft/translate/emitter.h"

#include <algorithm>

namespace vireo::engine::soft::translate {
namespace {

bool fits8(i64 value) { return value == static_cast<i8>(value); }
bool fits32(i64 value) { return value == static_cast<i32>(value); }

}  // namespace

Emitter::Emitter(u8* writable, u8 const* executable, u32 capacity) : executable_{executable} {
  overflowed_ = capacity < margin;
  begin_ = at_ = overflowed_ ? spare_.data() : writable;
  limit_ = overflowed_ ? at_ : at_ + (capacity - margin);
}

bool Emitter::reaches(u8 const* target) const {
  return fits32((target - here()) + i64{margin}) && fits32((target - here()) - i64{margin});
}

void Emitter::bytes(u8 const* from, u32 count) {
  while (count != 0) {
    auto const part = std::min(count, margin);
    auto* to = reserve();
    std::memcpy(to, from, part);
    commit(to + part);
    from += part;
    count -= part;
  }
}

void Emitter::load_zx(Width from_width, Reg to, Mem const& mem) {
  switch (from_width) {
    case Width::b: return memory(Width::d, 0xfb6, to, mem);
    case Width::w: return memory(Width::d, 0xfb7, to, mem);
    default: return memory(from_width, 0x8b, to, mem);
  }
}

void Emitter::load_sx(Width from_width, Reg to, Mem const& mem) {
  switch (from_width) {
    case Width::b: return memory(Width::q, 0xfbe, to, mem);
    case Width::w: return memory(Width::q, 0xfbf, to, mem);
    case Width::d: return memory(Width::q, 0x63, to, mem);
    case Width::q: return memory(Width::q, 0x8b, to, mem);
  }
}

void Emitter::movzx(Width from_width, Reg to, Reg from) {
  switch (from_width) {
    case Width::b: return commit(put(reserve(), Width::d, 0xfb6, code(to), from, low_byte(Width::b, from)));
    case Width::w: return regs(Width::d, 0xfb7, to, from);
    default: return mov(from_width, to, from);
  }
}

void Emitter::movsx(Width from_width, Reg to, Reg from) {
  switch (from_width) {
    case Width::b: return regs(Width::q, 0xfbe, to, from);
    case Width::w: return regs(Width::q, 0xfbf, to, from);
    case Width::d: return regs(Width::q, 0x63, to, from);
    case Width::q: return mov(Width::q, to, from);
  }
}

void Emitter::mov_imm(Reg to, u64 value) {
  auto* at = reserve();
  if (value == static_cast<u32>(value)) return commit(put32(put_plus(at, 0xb8, to), static_cast<u32>(value)));
  if (fits32(static_cast<i64>(value)))
    return commit(put32(put(at, Width::q, 0xc7, 0, to, false), static_cast<u32>(value)));
  at[0] = static_cast<u8>(0x48 | high_bit(to));
  at[1] = static_cast<u8>(0xb8 | low3(to));
  commit(put64(at + 2, value));
}

void Emitter::bswap(Width width, Reg reg) {
  auto* to = put_opcode(reserve(), width, high_bit(reg), false, 0xfc8 | low3(reg));
  commit(to);
}

void Emitter::push_imm(i32 value) {
  auto* to = reserve();
  *to = fits8(value) ? 0x6a : 0x68;
  commit(put_imm(to + 1, fits8(value) ? Width::b : Width::d, value));
}

void Emitter::bt_imm(Width width, Reg reg, u8 bit) {
  commit(put_imm(put(reserve(), width, 0xfba, 4, reg, false), Width::b, bit));
}
void Emitter::bt_imm(Width width, Mem const& mem, u8 bit) {
  commit(put_imm(put(reserve(), width, 0xfba, 4, mem, false), Width::b, bit));
}

void Emitter::shift_imm(Shift op, Width width, Reg reg, u8 count) {
  auto const once = count == 1;
  auto* to = put(reserve(), width, (once ? 0xd0 : 0xc0) | wide(width), code(op), reg, low_byte(width, reg));
  *to = count;
  commit(once ? to : to + 1);
}

void Emitter::vex(Width width, unsigned pp, unsigned map, unsigned opcode, Reg reg, Reg vvvv, Reg rm) {
  auto* to = put_vex(reserve(), width, pp, map, opcode, high_bit(reg) << 2 | high_bit(rm), vvvv);
  *to = static_cast<u8>(0xc0 | low3(reg) << 3 | low3(rm));
  commit(to + 1);
}

void Emitter::vex(Width width, unsigned pp, unsigned map, unsigned opcode, Reg reg, Reg vvvv, Mem const& mem) {
  auto* to = reserve();
  *to = 0x65;
  to += mem.gs;
  to = put_vex(to, width, pp, map, opcode, high_bit(reg) << 2 | rex_of(mem), vvvv);
  commit(put_memory(to, code(reg), mem));
}

void Emitter::rorx(Width width, Reg to, Reg from, u8 count) {
  vex(width, 3, 3, 0xf0, to, Reg::rax, from);
  byte(count);
}

void Emitter::lea(Reg to, Label& label) {
  auto* at = put_opcode(reserve(), Width::q, high_bit(to) << 2, false, 0x8d);
  *at = static_cast<u8>(low3(to) << 3 | 5);
  commit(put_rel32(at + 1, label));
}

u8* Emitter::put_rel32(u8* to, Label& label) {
  auto const field = static_cast<u32>(to - begin_);
  if (label.bound()) return put32(to, label.at - (field + 4));
  auto const before = label.uses;
  label.uses = field;
  return put32(to, before);
}

u8* Emitter::put_rel32(u8* to, u8 const* executable_target) {
  auto const distance = executable_target - (executable_ + (to + 4 - begin_));
  overflowed_ |= !fits32(distance);
  return put32(to, static_cast<u32>(distance));
}

void Emitter::rel8(unsigned opcode, Label& label) {
  auto* to = reserve();
  auto const field = static_cast<u32>(to + 1 - begin_);
  auto const distance = label.bound()          ? i64{label.at} - (i64{field} + 1)
                        : label.near_uses == 0 ? 0
                                               : i64{field} - i64{label.near_uses};
  overflowed_ |= !fits8(distance);
  if (!label.bound()) label.near_uses = field;
  to[0] = static_cast<u8>(opcode);
  to[1] = static_cast<u8>(distance);
  commit(to + 2);
}

void Emitter::resolve(Label& label) {
  if (overflowed_) return;  // the chains may be overwritten
  for (auto field = label.uses; field != 0;) {
    auto before = u32{};
    std::memcpy(&before, begin_ + field, 4);
    put32(begin_ + field, label.at - (field + 4));
    field = before;
  }
  for (auto field = label.near_uses; field != 0;) {
    auto const step = begin_[field];
    auto const distance = label.at - (field + 1);
    overflowed_ |= distance > 127;
    begin_[field] = static_cast<u8>(distance);
    field = step == 0 ? 0 : field - step;
  }
  label.uses = label.near_uses = 0;
}

void Emitter::jmp(Label& label) {
  if (label.bound() && fits8(i64{label.at} - (i64{size()} + 2))) return rel8(0xeb, label);
  auto* to = reserve();
  *to = 0xe9;
  commit(put_rel32(to + 1, label));
}

void Emitter::jcc(Cond cond, Label& label) {
  if (label.bound() && fits8(i64{label.at} - (i64{size()} + 2))) return rel8(0x70 | code(cond), label);
  auto* to = reserve();
  to[0] = 0x0f;
  to[1] = static_cast<u8>(0x80 | code(cond));
  commit(put_rel32(to + 2, label));
}

void Emitter::call(Label& label) {
  auto* to = reserve();
  *to = 0xe8;
  commit(put_rel32(to + 1, label));
}

void Emitter::jmp(u8 const* executable_target) {
  auto* to = reserve();
  *to = 0xe9;
  commit(put_rel32(to + 1, executable_target));
}

void Emitter::jcc(Cond cond, u8 const* executable_target) {
  auto* to = reserve();
  to[0] = 0x0f;
  to[1] = static_cast<u8>(0x80 | code(cond));
  commit(put_rel32(to + 2, executable_target));
}

void Emitter::call(u8 const* executable_target) {
  auto* to = reserve();
  *to = 0xe8;
  commit(put_rel32(to + 1, executable_target));
}

void Emitter::nop(u32 count) {
  // SDM vol. 2, NOP, table 4-12.
  static constexpr std::array<std::array<u8, 9>, 9> forms{{
      {0x90},
      {0x66, 0x90},
      {0x0f, 0x1f, 0x00},
      {0x0f, 0x1f, 0x40, 0x00},
      {0x0f, 0x1f, 0x44, 0x00, 0x00},
      {0x66, 0x0f, 0x1f, 0x44, 0x00, 0x00},
      {0x0f, 0x1f, 0x80, 0x00, 0x00, 0x00, 0x00},
      {0x0f, 0x1f, 0x84, 0x00, 0x00, 0x00, 0x00, 0x00},
      {0x66, 0x0f, 0x1f, 0x84, 0x00, 0x00, 0x00, 0x00, 0x00},
  }};
  while (count != 0) {
    auto const part = std::min(count, static_cast<u32>(forms.size()));
    auto* to = reserve();
    std::memcpy(to, forms[part - 1].data(), forms.size());
    commit(to + part);
    count -= part;
  }
}

void Emitter::align(u32 alignment) {
  assert(std::has_single_bit(alignment));
  nop(static_cast<u32>(-std::bit_cast<u64>(here()) & (alignment - 1)));
}

void Emitter::ud2() {
  auto* to = reserve();
  to[0] = 0x0f;
  to[1] = 0x0b;
  commit(to + 2);
}

}  // namespace vireo::engine::soft::translate
