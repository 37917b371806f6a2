#pragma once

#include "x86/registers.h"

namespace vireo::engine::soft {

/// The arithmetic flags as LAHF and SETO leave them in AX: the high byte is RFLAGS' low byte (SF ZF AF PF CF,
/// bit 1 set), the low byte is OF. RFLAGS is accessed bytewise so that an instruction need not merge what it
/// overwrites anyway.
using FlagWord = u16;

inline u8* flag_bytes(u64& rflags) {
  // SOUND: u8 is unsigned char, which may alias anything.
  return reinterpret_cast<u8*>(&rflags);
}
inline void store_flags(u64& rflags, FlagWord ax) {
  auto* const bytes = flag_bytes(rflags);
  bytes[0] = static_cast<u8>(ax >> 8);
  bytes[1] = static_cast<u8>((bytes[1] & ~8) | ((ax & 1) << 3));
}
inline FlagWord load_flags(u64& rflags) {
  auto const* const bytes = flag_bytes(rflags);
  return static_cast<FlagWord>(bytes[0] << 8 | (bytes[1] >> 3 & 1));
}
inline bool carry(u64& rflags) { return (flag_bytes(rflags)[0] & x86::flag_cf) != 0; }
inline void set_flag(u64& rflags, u32 flag, bool on) { rflags = on ? rflags | flag : rflags & ~u64{flag}; }

/// Jcc, SETcc, CMOVcc: `condition` is the opcode's low nibble (SDM vol. 1, appendix B).
template <u8 condition>
inline bool holds(u64& rflags) {
  auto const* const bytes = flag_bytes(rflags);
  auto const overflow = [&] { return (bytes[1] >> 3 & 1) != 0; };
  auto const sign = [&] { return (bytes[0] & x86::flag_sf) != 0; };
  auto result = false;
  if constexpr (condition / 2 == 0) result = overflow();
  if constexpr (condition / 2 == 1) result = bytes[0] & x86::flag_cf;
  if constexpr (condition / 2 == 2) result = bytes[0] & x86::flag_zf;
  if constexpr (condition / 2 == 3) result = bytes[0] & (x86::flag_cf | x86::flag_zf);
  if constexpr (condition / 2 == 4) result = sign();
  if constexpr (condition / 2 == 5) result = bytes[0] & x86::flag_pf;
  if constexpr (condition / 2 == 6) result = sign() != overflow();
  if constexpr (condition / 2 == 7) result = (bytes[0] & x86::flag_zf) || sign() != overflow();
  return result != (condition & 1);
}

}  // namespace vireo::engine::soft
