#include "engine/soft/interp/differential_values.h"

#include "vocab/bytes.h"

namespace vireo::engine::soft::differential {
namespace {

constexpr u64 low32{0xffff'ffff};

}  // namespace

Values::Values(u64 seed, x86::CodeSize code_size)
    : random_{seed}, code_size_{code_size}, area_{code_size == x86::CodeSize::bits16 ? 0 : scratch_base} {}

Scratch Values::scratch() {
  auto bytes = Scratch{};
  for (auto i = 0uz; i < bytes.size(); i += 16) fill_vector(bytes.data() + i);
  return bytes;
}

u64 Values::value() {
  auto const any = random_.number();
  switch (random_.below(12)) {
    case 0: return any & 0xff;
    case 1: return any & 0xffff;
    case 2: return any & low32;
    case 3: return ~u64{0};
    case 4: return u64{0} - (any & 0xff);
    case 5: return u64{1} << (any & 63);
    case 6: return (u64{1} << (any & 63)) - 1;
    case 7: return 0x8000'0000'0000'0000;
    case 8: return area_ + any % writable_bytes;
    case 9: return any & 1 ? 0x8000'0000 : 0x7fff'ffff;
    default: return any;
  }
}

/// 64 bits of a vector register: integers, and floating-point numbers of both widths.
u64 Values::lane() {
  auto const any = random_.number();
  auto const single = [&](u64 from) -> u64 {
    constexpr std::array<u32, 16> edges{0,          0x80000000, 0x3f800000, 0xbf800000, 0x7f800000, 0xff800000,
                                        0x7fc00000, 0x7fa00000, 0x00000001, 0x007fffff, 0x00800000, 0x7f7fffff,
                                        0x4f000000, 0xcf000000, 0x5f000000, 0x3effffff};
    if (from & 0x100) return edges[from & 15];
    return (from >> 9 & 0x007fffff) | (118 + (from >> 40) % 20) << 23 | (from & 1) << 31;
  };
  switch (random_.below(6)) {
    case 0: return single(any) | single(random_.number()) << 32;
    case 1: {
      constexpr std::array<u64, 16> edges{0,
                                          0x8000000000000000,
                                          0x3ff0000000000000,
                                          0xbff0000000000000,
                                          0x7ff0000000000000,
                                          0xfff0000000000000,
                                          0x7ff8000000000000,
                                          0x7ff4000000000000,
                                          1,
                                          0x000fffffffffffff,
                                          0x0010000000000000,
                                          0x7fefffffffffffff,
                                          0x41e0000000000000,
                                          0xc1e0000000200000,
                                          0x43e0000000000000,
                                          0x3fdfffffffffffff};
      return edges[any & 15];
    }
    case 2: return (any >> 12) | (1018 + any % 12) << 52 | (any & 1) << 63;
    case 3: return any & 0x00ff00ff00ff00ff;
    default: return any;
  }
}

void Values::fill_vector(u8* bytes) {
  store_le<u64>(bytes, lane());
  store_le<u64>(bytes + 8, lane());
}

void Values::fill_x87(ExtendedState& state) {
  auto const any = random_.number();
  state.fcw = static_cast<u16>(0x7f | (any & 0x0f00) | 0x40);
  if (random_.one_in(8)) state.fcw = static_cast<u16>(state.fcw & ~(random_.number() & 0x3f));
  state.fsw = static_cast<u16>(random_.number() & 0x7f7f);
  if (!random_.one_in(4)) state.fsw &= 0x7f00;
  // The summary bits follow from unmasked exceptions (SDM vol. 1, 8.1.3.3).
  if (state.fsw & ~state.fcw & 0x3f) state.fsw |= 0x8080;
  state.ftw = static_cast<u8>(random_.number() | random_.number());
  if (random_.one_in(3)) state.ftw = 0xff;
  state.fop = static_cast<u16>(random_.number() & 0x7ff);
  state.fip = scratch_base + random_.below(0x1000);
  state.fdp = scratch_base + random_.below(0x1000);
  for (auto& reg : state.st) {
    auto mantissa = random_.number() | u64{1} << 63;
    auto exponent = 0x3fff + random_.below(40) - 20;
    switch (random_.below(14)) {
      case 0: mantissa = 0, exponent = 0; break;
      case 1: mantissa = u64{1} << 63, exponent = 0x7fff; break;
      case 2: mantissa = 0xc000'0000'0000'0000 | random_.below(4), exponent = 0x7fff; break;
      case 3: mantissa = 0xa000'0000'0000'0000, exponent = 0x7fff; break;
      case 4: mantissa = random_.number() >> 1, exponent = 0; break;
      case 5: exponent = 0; break;                      // pseudo-denormal
      case 6: mantissa = random_.number() >> 1; break;  // unnormal
      case 7: mantissa = u64{1} << 63; break;
      case 8: exponent = random_.number() & 0x7fff; break;
      case 9: mantissa = ~u64{0}, exponent = 0x7ffe; break;
      default: break;
    }
    store_le<u64>(reg.bytes, mantissa);
    store_le<u16>(reg.bytes + 8, static_cast<u16>(exponent | (random_.number() & 1) << 15));
  }
}

Registers Values::registers() {
  auto result = Registers{};
  for (auto& reg : result.gpr) reg = value();
  if (!code64())
    for (auto i = 0uz; i < 16; ++i) result.gpr[i] = i < 8 ? result.gpr[i] & low32 : 0;
  result.gpr[x86::rsp] = area_ + 0x800 + random_.below(256) * 8;
  result.rflags = x86::flag_fixed | x86::flag_if | (random_.number() & x86::arithmetic_flags);
  if (random_.one_in(8)) result.rflags |= x86::flag_df;
  result.fs_base = fs_base_ = scratch_base - 0x1'0000 + random_.below(0x100) * 16;
  result.gs_base = gs_base_ = scratch_base - 0x2'0000 + random_.below(0x100) * 16;
  auto& extended = result.extended;
  extended.mxcsr = 0x1f80;
  if (random_.one_in(2)) extended.mxcsr |= static_cast<u32>(random_.number() & 0xe07f);
  if (random_.one_in(12)) extended.mxcsr &= ~static_cast<u32>(random_.number() & 0x1f80);
  fill_x87(extended);
  for (auto i = 0; i < 16; ++i) {
    fill_vector(extended.xmm[i].bytes);
    fill_vector(extended.ymm_high[i].bytes);
  }
  extended.xstate_bv = 7;
  return result;
}

}  // namespace vireo::engine::soft::differential
