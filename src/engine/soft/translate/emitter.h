#pragma once

#include <array>
#include <bit>
#include <cassert>
#include <cstring>

#include "vocab/integers.h"

namespace vireo::engine::soft::translate {

enum class Reg : u8 {  // host registers
  rax,
  rcx,
  rdx,
  rbx,
  rsp,
  rbp,
  rsi,
  rdi,
  r8,
  r9,
  r10,
  r11,
  r12,
  r13,
  r14,
  r15,
  none = 0xff
};
enum class Cond : u8 { o, no, b, ae, e, ne, be, a, s, ns, p, np, l, ge, le, g };
enum class Width : u8 { b = 1, w = 2, d = 4, q = 8 };
enum class Alu : u8 { add, or_, adc, sbb, and_, sub, xor_, cmp };
enum class Shift : u8 { rol, ror, rcl, rcr, shl, shr, sar = 7 };

constexpr Cond operator!(Cond cond) { return static_cast<Cond>(static_cast<u8>(cond) ^ 1); }

/// base none and index none: absolute, sign-extended from 32 bits. rsp cannot be an index.
struct Mem {
  Reg base{Reg::none};
  Reg index{Reg::none};
  u8 scale{1};
  i32 disp{};
  bool gs{};
};

/// A place in the code of one Emitter. Any number of jumps may name it before and after it is bound.
struct Label {
  static constexpr u32 unbound{~u32{0}};
  u32 at{unbound};  // offset of the target
  u32 uses{};  // offset of the last rel32 that waits for the target, which holds the offset of the one before
  u32 near_uses{};  // the same with rel8, which holds the distance to the one before
  bool bound() const { return at != unbound; }
};

/// Writes x86-64 code. Operands of 32 bits zero-extend into the register, of 8 and 16 bits merge, as the
/// processor has it; byte registers are always the low ones.
class Emitter {
 public:
  /// Writes to [writable, writable + capacity); byte i will run at executable + i.
  Emitter(u8* writable, u8 const* executable, u32 capacity);
  Emitter(Emitter const&) = delete;
  Emitter& operator=(Emitter const&) = delete;

  u32 size() const { return static_cast<u32>(at_ - begin_); }
  u8 const* here() const { return executable_ + size(); }  // where the next byte will run
  u8 const* address(Label const& label) const { return executable_ + label.at; }
  /// The code is useless: it passed the capacity (the last 32 bytes of which may stay unused; nothing is
  /// written beyond), or a jump does not reach its target.
  bool overflowed() const { return overflowed_; }
  bool reaches(u8 const* target) const;  // by a rel32 from here

  // ---- raw ----
  static constexpr u32 margin{32};
  /// At least `margin` bytes to write to; commit() says how far they were used.
  u8* reserve() {
    if (at_ > limit_) [[unlikely]] {
      overflowed_ = true;
      at_ = limit_;
    }
    return at_;
  }
  void commit(u8* end) { at_ = end; }
  void byte(u8 value) {
    auto* to = reserve();
    *to = value;
    commit(to + 1);
  }
  void dword(u32 value) { commit(put32(reserve(), value)); }
  void qword(u64 value) { commit(put64(reserve(), value)); }
  void bytes(u8 const* from, u32 count);
  /// ModRM, SIB and displacement of a memory operand; `reg` goes to ModRM.reg (its low three bits).
  static u8* put_memory(u8* to, unsigned reg, Mem const& mem);
  static u8* put32(u8* to, u32 value) { return std::memcpy(to, &value, 4), to + 4; }
  static u8* put64(u8* to, u64 value) { return std::memcpy(to, &value, 8), to + 8; }

  // ---- moves ----
  void mov(Width width, Reg to, Reg from) { regs(width, 0x88 | wide(width), from, to); }
  void load(Width width, Reg to, Mem const& mem) { memory(width, 0x8a | wide(width), to, mem); }
  void store(Width width, Mem const& mem, Reg from) { memory(width, 0x88 | wide(width), from, mem); }
  void load_zx(Width from_width, Reg to, Mem const& mem);  // to 64 bits
  void load_sx(Width from_width, Reg to, Mem const& mem);
  void movzx(Width from_width, Reg to, Reg from);
  void movsx(Width from_width, Reg to, Reg from);
  void mov_imm(Reg to, u64 value);                          // the shortest of three forms; leaves the flags
  void store_imm(Width width, Mem const& mem, i32 value) {  // sign-extended for q
    auto* to = put(reserve(), width, 0xc6 | wide(width), 0, mem, false);
    commit(put_imm(to, width, value));
  }
  void lea(Width width, Reg to, Mem const& mem) {
    memory(width, 0x8d, to, mem);
  }  // mem.gs is ignored by the CPU
  void lea(Reg to, Label& label);  // RIP-relative
  void xchg(Width width, Reg a, Reg b) { regs(width, 0x86 | wide(width), b, a); }
  void xchg(Width width, Mem const& mem, Reg reg) { memory(width, 0x86 | wide(width), reg, mem); }
  void cmov(Cond cond, Width width, Reg to, Reg from) { regs(width, 0xf40 | code(cond), to, from); }
  void cmov(Cond cond, Width width, Reg to, Mem const& mem) { memory(width, 0xf40 | code(cond), to, mem); }
  void bswap(Width width, Reg reg);  // d or q
  void push(Reg reg) { commit(put_plus(reserve(), 0x50, reg)); }
  void pop(Reg reg) { commit(put_plus(reserve(), 0x58, reg)); }
  void push(Mem const& mem) { commit(put(reserve(), Width::d, 0xff, 6, mem, false)); }
  void pop(Mem const& mem) { commit(put(reserve(), Width::d, 0x8f, 0, mem, false)); }
  void push_imm(i32 value);  // sign-extended

  // ---- arithmetic ----
  void alu(Alu op, Width width, Reg to, Reg from) { regs(width, code(op) << 3 | wide(width), from, to); }
  void alu(Alu op, Width width, Reg to, Mem const& mem) {
    memory(width, code(op) << 3 | 2 | wide(width), to, mem);
  }
  void alu(Alu op, Width width, Mem const& mem, Reg from) {
    memory(width, code(op) << 3 | wide(width), from, mem);
  }
  void alu_imm(Alu op, Width width, Reg to, i32 value) {
    auto const small = width != Width::b && value == static_cast<i8>(value);
    auto* end = put(reserve(), width, small ? 0x83 : 0x80 | wide(width), code(op), to, low_byte(width, to));
    commit(put_imm(end, small ? Width::b : width, value));
  }
  void alu_imm(Alu op, Width width, Mem const& mem, i32 value) {
    auto const small = width != Width::b && value == static_cast<i8>(value);
    auto* end = put(reserve(), width, small ? 0x83 : 0x80 | wide(width), code(op), mem, false);
    commit(put_imm(end, small ? Width::b : width, value));
  }
  void test(Width width, Reg a, Reg b) { regs(width, 0x84 | wide(width), b, a); }
  void test(Width width, Mem const& mem, Reg reg) { memory(width, 0x84 | wide(width), reg, mem); }
  void test_imm(Width width, Reg reg, i32 value) {
    commit(put_imm(put(reserve(), width, 0xf6 | wide(width), 0, reg, low_byte(width, reg)), width, value));
  }
  void test_imm(Width width, Mem const& mem, i32 value) {
    commit(put_imm(put(reserve(), width, 0xf6 | wide(width), 0, mem, false), width, value));
  }
  void not_(Width width, Reg reg) { unary(width, 2, reg); }
  void neg(Width width, Reg reg) { unary(width, 3, reg); }
  void imul(Width width, Reg to, Reg from) { regs(width, 0xfaf, to, from); }  // not b
  void bt_imm(Width width, Reg reg, u8 bit);                                  // not b
  void bt_imm(Width width, Mem const& mem, u8 bit);
  void shift_imm(Shift op, Width width, Reg reg, u8 count);
  void shift_cl(Shift op, Width width, Reg reg) {
    commit(put(reserve(), width, 0xd2 | wide(width), code(op), reg, low_byte(width, reg)));
  }
  /// Without flags (BMI2); d or q.
  void rorx(Width width, Reg to, Reg from, u8 count);
  void shlx(Width width, Reg to, Reg from, Reg count) { vex(width, 1, 2, 0xf7, to, count, from); }
  void shrx(Width width, Reg to, Reg from, Reg count) { vex(width, 3, 2, 0xf7, to, count, from); }
  void sarx(Width width, Reg to, Reg from, Reg count) { vex(width, 2, 2, 0xf7, to, count, from); }
  void pext(Reg to, Reg from, Reg mask) { vex(Width::q, 2, 2, 0xf5, to, from, mask); }
  void pext(Reg to, Reg from, Mem const& mask) { vex(Width::q, 2, 2, 0xf5, to, from, mask); }

  // ---- flags ----
  void setcc(Cond cond, Reg reg) {
    commit(put(reserve(), Width::b, 0xf90 | code(cond), 0, reg, low_byte(Width::b, reg)));
  }
  void setcc(Cond cond, Mem const& mem) { commit(put(reserve(), Width::b, 0xf90 | code(cond), 0, mem, false)); }
  void pushfq() { byte(0x9c); }
  void popfq() { byte(0x9d); }
  void lahf() { byte(0x9f); }
  void sahf() { byte(0x9e); }
  void clc() { byte(0xf8); }
  void stc() { byte(0xf9); }
  void cmc() { byte(0xf5); }
  void cld() { byte(0xfc); }
  void std() { byte(0xfd); }

  // ---- control flow ----
  // To labels: rel32 when forward, the shortest form when backward. The *_short forms, and jrcxz, are for
  // labels within 127 bytes.
  void jmp(Label& label);
  void jcc(Cond cond, Label& label);
  void call(Label& label);
  void jmp_short(Label& label) { rel8(0xeb, label); }
  void jcc_short(Cond cond, Label& label) { rel8(0x70 | code(cond), label); }
  void jrcxz(Label& label) { rel8(0xe3, label); }
  void bind(Label& label) {
    label.at = size();
    if (label.uses != 0 || label.near_uses != 0) resolve(label);
  }
  // To code elsewhere; the rel32 is the last four bytes.
  void jmp(u8 const* executable_target);
  void jcc(Cond cond, u8 const* executable_target);
  void call(u8 const* executable_target);
  void jmp(Mem const& mem) { commit(put(reserve(), Width::d, 0xff, 4, mem, false)); }
  void call(Mem const& mem) { commit(put(reserve(), Width::d, 0xff, 2, mem, false)); }
  void jmp(Reg reg) { commit(put(reserve(), Width::d, 0xff, 4, reg, false)); }
  void call(Reg reg) { commit(put(reserve(), Width::d, 0xff, 2, reg, false)); }
  void ret() { byte(0xc3); }
  void nop(u32 count);        // as few instructions as the bytes allow
  void align(u32 alignment);  // of here(), a power of two, with nops
  void ud2();
  void int3() { byte(0xcc); }

 private:
  template <typename Enum>
  static constexpr unsigned code(Enum value) {
    return static_cast<unsigned>(value);
  }
  static constexpr unsigned wide(Width width) { return width == Width::b ? 0 : 1; }
  static constexpr unsigned low3(Reg reg) { return code(reg) & 7; }
  static constexpr unsigned high_bit(Reg reg) { return reg == Reg::none ? 0 : code(reg) >> 3; }
  static constexpr bool low_byte(Width width, Reg reg) {  // SPL BPL SIL DIL: only with REX
    return width == Width::b && (code(reg) & 0xc) == 4;
  }
  static constexpr unsigned rex_of(Mem const& mem) { return high_bit(mem.index) << 1 | high_bit(mem.base); }

  // The opcode is one byte, or 0F and a byte as 0xfNN.
  static u8* put_opcode(u8* to, Width width, unsigned rex, bool force_rex, unsigned opcode) {
    *to = 0x66;
    to += width == Width::w;
    rex |= width == Width::q ? 8u : 0u;
    *to = static_cast<u8>(0x40 | rex);
    to += rex != 0 || force_rex;
    if (opcode > 0xff) *to++ = 0x0f;
    *to++ = static_cast<u8>(opcode);
    return to;
  }
  static u8* put(u8* to, Width width, unsigned opcode, unsigned reg, Reg rm, bool force_rex) {
    to = put_opcode(to, width, (reg >> 3) << 2 | high_bit(rm), force_rex, opcode);
    *to = static_cast<u8>(0xc0 | (reg & 7) << 3 | low3(rm));
    return to + 1;
  }
  static u8* put(u8* to, Width width, unsigned opcode, unsigned reg, Mem const& mem, bool force_rex) {
    *to = 0x65;
    to += mem.gs;
    to = put_opcode(to, width, (reg >> 3) << 2 | rex_of(mem), force_rex, opcode);
    return put_memory(to, reg, mem);
  }
  static u8* put_imm(u8* to, Width width, i32 value) {
    std::memcpy(to, &value, 4);
    return to + (width == Width::b ? 1 : width == Width::w ? 2 : 4);
  }
  static u8* put_plus(u8* to, unsigned opcode, Reg reg) {
    *to = 0x41;
    to += high_bit(reg);
    *to = static_cast<u8>(opcode | low3(reg));
    return to + 1;
  }
  /// pp and map as VEX has them.
  static u8* put_vex(u8* to, Width width, unsigned pp, unsigned map, unsigned opcode, unsigned rex, Reg vvvv) {
    to[0] = 0xc4;
    to[1] = static_cast<u8>((~rex & 7) << 5 | map);
    to[2] = static_cast<u8>((width == Width::q ? 0x80 : 0) | (~code(vvvv) & 0xf) << 3 | pp);
    to[3] = static_cast<u8>(opcode);
    return to + 4;
  }
  void regs(Width width, unsigned opcode, Reg reg, Reg rm) {
    commit(put(reserve(), width, opcode, code(reg), rm, low_byte(width, reg) || low_byte(width, rm)));
  }
  void memory(Width width, unsigned opcode, Reg reg, Mem const& mem) {
    commit(put(reserve(), width, opcode, code(reg), mem, low_byte(width, reg)));
  }
  void unary(Width width, unsigned op, Reg reg) {
    commit(put(reserve(), width, 0xf6 | wide(width), op, reg, low_byte(width, reg)));
  }
  void vex(Width width, unsigned pp, unsigned map, unsigned opcode, Reg reg, Reg vvvv, Reg rm);
  void vex(Width width, unsigned pp, unsigned map, unsigned opcode, Reg reg, Reg vvvv, Mem const& mem);
  void rel8(unsigned opcode, Label& label);
  u8* put_rel32(u8* to, Label& label);
  u8* put_rel32(u8* to, u8 const* executable_target);
  void resolve(Label& label);

  u8* at_;
  u8* limit_;  // an instruction may begin up to here
  u8* begin_;
  u8 const* executable_;
  bool overflowed_{};
  std::array<u8, margin> spare_;  // where to write when there is no capacity at all
};

inline u8* Emitter::put_memory(u8* to, unsigned reg, Mem const& mem) {
  assert(mem.index != Reg::rsp);
  auto const field = (reg & 7) << 3;
  auto const indexed = mem.index != Reg::none;
  auto const sib = static_cast<unsigned>(std::countr_zero(mem.scale)) << 6 | (indexed ? low3(mem.index) : 4)
                                                                                 << 3;
  if (mem.base == Reg::none) {
    to[0] = static_cast<u8>(field | 4);
    to[1] = static_cast<u8>(sib | 5);
    return put32(to + 2, static_cast<u32>(mem.disp));
  }
  auto const base = low3(mem.base);
  auto const has_sib = indexed || base == 4;
  auto const mode = mem.disp == 0 && base != 5 ? 0u : mem.disp == static_cast<i8>(mem.disp) ? 1u : 2u;
  to[0] = static_cast<u8>(mode << 6 | field | (has_sib ? 4 : base));
  to[1] = static_cast<u8>(sib | base);
  to += has_sib ? 2 : 1;
  put32(to, static_cast<u32>(mem.disp));
  return to + mode * mode;  // 0, 1, 4 bytes
}

}  // namespace vireo::engine::soft::translate
