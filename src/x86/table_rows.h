#pragma once

#include "x86/table.h"

/// How rows are written. Operand templates follow the SDM's appendix A: E G V W H ... for where, b w d q v x
/// ... for how wide. A row's first operand is written with w() or rw(); plain templates are read.
namespace vireo::x86::rows {

using O = Operation;
using F = Feature;

constexpr OperandSpec at(Source source, Size reg, Size memory, u8 fixed = 0) {
  return {.source = source,
          .register_size = reg,
          .memory_size = memory,
          .fixed = fixed,
          .read = true,
          .written = false};
}
constexpr OperandSpec at(Source source, Size size) { return at(source, size, size); }
constexpr OperandSpec w(OperandSpec spec) {
  spec.read = false;
  spec.written = true;
  return spec;
}
constexpr OperandSpec rw(OperandSpec spec) {
  spec.written = true;
  return spec;
}
constexpr OperandSpec unused(OperandSpec spec) {  // named but neither read nor written (LEA, NOP)
  spec.read = false;
  return spec;
}

// clang-format off
inline constexpr auto b = Size::b, d = Size::d, q = Size::q, t = Size::t, dq = Size::dq, qq = Size::qq, v = Size::v, z = Size::z, y = Size::y, x = Size::x;
inline constexpr auto half_x = Size::half_x, quarter_x = Size::quarter_x, eighth_x = Size::eighth_x, x87_environment = Size::x87_environment, x87_state = Size::x87_state, fx = Size::fx;
constexpr auto E(Size size) { return at(Source::rm_gpr, size); }
constexpr auto E(Size reg, Size memory) { return at(Source::rm_gpr, reg, memory); }
constexpr auto G(Size size) { return at(Source::reg_gpr, size); }
constexpr auto R(Size size) { return at(Source::rm_gpr_only, size); }
constexpr auto B(Size size) { return at(Source::vvvv_gpr, size); }
constexpr auto Z(Size size) { return at(Source::opcode_gpr, size); }
constexpr auto M(Size size) { return at(Source::rm_memory, size); }
constexpr auto fixed(u8 reg, Size size) { return at(Source::fixed_gpr, size, size, reg); }
constexpr auto V(Size size) { return at(Source::reg_vector, size); }
constexpr auto H(Size size) { return at(Source::vvvv_vector, size); }
constexpr auto L(Size size) { return at(Source::is4_vector, size); }
constexpr auto U(Size size) { return at(Source::rm_vector_only, size); }
constexpr auto W(Size size) { return at(Source::rm_vector, size); }
constexpr auto W(Size reg, Size memory) { return at(Source::rm_vector, reg, memory); }
constexpr auto I(Size encoded) { return at(Source::immediate, encoded); }
constexpr auto Is(Size extended, Size encoded) { return at(Source::immediate_signed, extended, encoded); }
constexpr auto J(Size encoded) { return at(Source::relative, encoded); }

inline constexpr auto Eb = E(b), Ew = E(Size::w), Ed = E(d), Ev = E(v), Ey = E(y), Eq = E(q);
inline constexpr auto Gb = G(b), Gw = G(Size::w), Gd = G(d), Gv = G(v), Gy = G(y), Gq = G(q), Gz = G(z);
inline constexpr auto By = B(y), Zb = Z(b), Zv = Z(v);
inline constexpr auto Ib = I(b), Iw = I(Size::w), Iv = I(v), Iz = Is(v, z), Isb = Is(v, b), Jb = J(b), Jz = J(z);
inline constexpr auto Ib2 = at(Source::immediate2, b);
inline constexpr auto AL = fixed(rax, b), CL = fixed(rcx, b), AX = fixed(rax, Size::w), DX = fixed(rdx, Size::w), rAX = fixed(rax, v), eAX = fixed(rax, z);
inline constexpr auto one = at(Source::one, b);
inline constexpr auto Ob = at(Source::moffs, b), Ov = at(Source::moffs, v);
inline constexpr auto Xb = at(Source::string_source, b), Xv = at(Source::string_source, v), Xz = at(Source::string_source, z);
inline constexpr auto Yb = at(Source::string_destination, b), Yv = at(Source::string_destination, v), Yz = at(Source::string_destination, z);
inline constexpr auto Sw = at(Source::reg_segment, Size::w);
constexpr auto segment(SegmentRegister reg) { return at(Source::fixed_segment, Size::w, Size::w, static_cast<u8>(reg)); }
inline constexpr auto Cv = at(Source::reg_control, v), Dv = at(Source::reg_debug, v), Rv = R(v), Ry = R(y);
inline constexpr auto Mb = M(b), Mw = M(Size::w), Md = M(d), Mq = M(q), Mdq = M(dq), Mqq = M(qq), Mx = M(x), My = M(y), Mv = M(v), Mt = M(t), Mp = M(Size::p), Ma = M(Size::a), Ms = M(Size::s), M0 = M(Size::none), Mfx = M(fx);
inline constexpr auto Ap = at(Source::far_pointer, Size::p);
inline constexpr auto Vx = V(x), Vo = V(dq), Vy = V(qq), Hx = H(x), Ho = H(dq), Hy = H(qq), Lx = L(x), Lo = L(dq), Ux = U(x), Uo = U(dq), Uy = U(qq);
inline constexpr auto Wx = W(x), Wo = W(dq), Wy = W(qq), Wd = W(dq, d), Wq = W(dq, q), Ww = W(dq, Size::w), Wb = W(dq, b);
inline constexpr auto XMM0 = at(Source::fixed_vector, dq, dq, 0);
inline constexpr auto Pq = at(Source::reg_mmx, q), Qq = at(Source::rm_mmx, q), Nq = at(Source::rm_mmx_only, q), Qd = at(Source::rm_mmx, q, d);
inline constexpr auto ST0 = at(Source::st0, t), STi = at(Source::sti, t);
constexpr auto vsib(Size element) { return at(Source::vsib, element); }

inline constexpr u32 cf = flag_cf, pf = flag_pf, af = flag_af, zf = flag_zf, sf = flag_sf, of = flag_of;
inline constexpr u32 all = arithmetic_flags;
// clang-format on

/// A row under construction: each member function adds one fact.
struct RowMaker : Row {
  template <typename... Operands>
  constexpr RowMaker(Encoding e, u8 m, Operation op, int code, Operands... specs) {
    encoding = e;
    map = m;
    operation = op;
    opcode = last_opcode = static_cast<u8>(code);
    auto i = 0uz;
    ((operands[i++] = specs), ...);
  }
#define VIREO_FACT(name, parameters, ...)    \
  constexpr RowMaker name parameters const { \
    auto r = *this;                          \
    __VA_ARGS__;                             \
    return r;                                \
  }
  VIREO_FACT(flags_set, (u32 written, u32 undefined = 0, u32 read = 0),
             r.flags = FlagMasks{.read = read, .written = written, .undefined = undefined})
  VIREO_FACT(reads, (u32 read), r.flags.read = read)
  VIREO_FACT(with, (Attribute a), r.attributes = r.attributes | a)
  VIREO_FACT(lock, (), r.attributes = r.attributes | Attribute::lockable)
  VIREO_FACT(ends, (), r.attributes = r.attributes | Attribute::ends_block)
  VIREO_FACT(cpl0, (), r.attributes = r.attributes | Attribute::privileged)
  VIREO_FACT(rep, (), r.attributes = r.attributes | Attribute::repeatable)
  VIREO_FACT(segmentation, (), r.family = Family::segmentation)
  VIREO_FACT(system, (), r.family = Family::system)
  VIREO_FACT(feat, (Feature f), r.feature = f)
  VIREO_FACT(aligned, (u8 bytes), r.alignment = bytes)
  VIREO_FACT(any_address, (), r.alignment = 0)
  VIREO_FACT(upto, (int last), r.last_opcode = static_cast<u8>(last))
  VIREO_FACT(g, (u8 value), r.reg = value)
  VIREO_FACT(exactly, (u8 modrm), r.mod = Mod::reg; r.reg = (modrm >> 3) & 7; r.rm = modrm & 7)
  VIREO_FACT(mem, (), r.mod = Mod::memory)
  VIREO_FACT(regs, (), r.mod = Mod::reg)
  VIREO_FACT(mod_ignored, (), r.mod = Mod::ignored)
  VIREO_FACT(np, (), r.mandatory = Mandatory::none)
  VIREO_FACT(p66, (), r.mandatory = Mandatory::p66)
  VIREO_FACT(f3, (), r.mandatory = Mandatory::f3)
  VIREO_FACT(f2, (), r.mandatory = Mandatory::f2)
  VIREO_FACT(not_f3f2, (), r.mandatory = Mandatory::not_f3f2)
  VIREO_FACT(w0, (), r.w = WidthBit::w0)
  VIREO_FACT(w1, (), r.w = WidthBit::w1)
  VIREO_FACT(w1_64, (), r.w = WidthBit::w1; r.modes = 4)
  VIREO_FACT(w0_or_not64, (), r.w = WidthBit::w0_or_not64)
  VIREO_FACT(l0, (), r.l = VectorLength::l0)
  VIREO_FACT(l1, (), r.l = VectorLength::l1)
  VIREO_FACT(o16, (), r.operand_sizes = 1)
  VIREO_FACT(o32, (), r.operand_sizes = 2)
  VIREO_FACT(o64, (), r.operand_sizes = 4)
  VIREO_FACT(not64, (), r.modes = 3)
  VIREO_FACT(only64, (), r.modes = 4)
  VIREO_FACT(d64, (), r.default64 = true)
  VIREO_FACT(by_mode_size, (), r.by_mode = true)
  VIREO_FACT(f64, (), r.force64 = true)
  VIREO_FACT(vector, (RegisterFile where, Feature f), r.family = Family::vector; r.file = where; r.feature = f)
  VIREO_FACT(also, (Feature f), r.second_feature = f)
  VIREO_FACT(x87, (), r.family = Family::vector; r.file = RegisterFile::x87; r.feature = F::fpu)
  VIREO_FACT(mmx, (Feature f = F::mmx), r.family = Family::vector; r.file = RegisterFile::mmx; r.feature = f)
  VIREO_FACT(sse, (Feature f), r.family = Family::vector; r.file = RegisterFile::sse; r.feature = f)
  VIREO_FACT(avx, (Feature f = F::avx), r.family = Family::vector; r.file = RegisterFile::avx; r.feature = f)
#undef VIREO_FACT
};

template <typename... Operands>
constexpr RowMaker p(Operation op, int code, Operands... specs) {  // primary map
  return {Encoding::legacy, 0, op, code, specs...};
}
template <typename... Operands>
constexpr RowMaker f(Operation op, int code, Operands... specs) {  // 0F
  return {Encoding::legacy, 1, op, code, specs...};
}
template <typename... Operands>
constexpr RowMaker f38(Operation op, int code, Operands... specs) {
  return {Encoding::legacy, 2, op, code, specs...};
}
template <typename... Operands>
constexpr RowMaker f3a(Operation op, int code, Operands... specs) {
  return {Encoding::legacy, 3, op, code, specs...};
}
template <typename... Operands>
constexpr RowMaker v0f(Operation op, int code, Operands... specs) {
  return {Encoding::vex, 1, op, code, specs...};
}
template <typename... Operands>
constexpr RowMaker v38(Operation op, int code, Operands... specs) {
  return {Encoding::vex, 2, op, code, specs...};
}
template <typename... Operands>
constexpr RowMaker v3a(Operation op, int code, Operands... specs) {
  return {Encoding::vex, 3, op, code, specs...};
}

}  // namespace vireo::x86::rows
