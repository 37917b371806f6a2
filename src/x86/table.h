#pragma once

#include <array>
#include <span>
#include <string>

#include "x86/features.h"
#include "x86/instruction.h"

namespace vireo::x86 {

enum class Family : u8 { integer, segmentation, system, vector };

/// Which registers a row works on, for CR0.EM/TS, CR4.OSFXSR/OSXSAVE checks and for the differential generator.
enum class RegisterFile : u8 { general, x87, mmx, sse, avx };

enum class Attribute : u16 {
  none = 0,
  lockable = 1,         // LOCK allowed when the destination is memory
  ends_block = 2,       // may change RIP, mode, translation or interrupt enable
  privileged = 4,       // CPL 0 only (outside real mode)
  io_privileged = 8,    // IOPL or the I/O bitmap decide
  protected_only = 16,  // #UD in real and virtual-8086 mode
  system_call = 32,     // enters or leaves the kernel
  repeatable = 64,      // REP is a repeat count
};
constexpr Attribute operator|(Attribute a, Attribute b) {
  return static_cast<Attribute>(static_cast<u16>(a) | static_cast<u16>(b));
}

/// Where an operand comes from; see the templates in table_rows.h.
enum class Source : u8 {
  none,
  rm_gpr,
  rm_gpr_only,
  reg_gpr,
  vvvv_gpr,
  opcode_gpr,
  fixed_gpr,
  rm_memory,
  vsib,
  moffs,
  string_source,
  string_destination,
  implicit_memory,
  rm_vector,
  rm_vector_only,
  reg_vector,
  vvvv_vector,
  is4_vector,
  fixed_vector,
  rm_mmx,
  rm_mmx_only,
  reg_mmx,
  reg_segment,
  fixed_segment,
  reg_control,
  reg_debug,
  st0,
  sti,
  immediate,
  immediate_signed,
  immediate2,
  one,
  relative,
  far_pointer,
};

/// How wide: fixed bytes, or by operand size and vector length.
enum class Size : u8 {
  none,
  b,
  w,
  d,
  q,
  t /* 10 */,
  dq /* 16 */,
  qq /* 32 */,
  v /* 2, 4, 8 */,
  z /* 2, 4, 4 */,
  y /* 4, 8 by W */,
  x /* 16, 32 */,
  half_x,
  quarter_x,
  eighth_x,
  p /* far pointer: 2 + v */,
  a /* two of v */,
  s /* table register: 2 + 4 or 8 */,
  stack /* default 64 */,
  x87_environment /* 14, 28 */,
  x87_state /* 94, 108 */,
  fx /* 512 */,
};

struct OperandSpec {
  Source source{};
  Size register_size{};
  Size memory_size{};
  u8 fixed{};  // register number, for fixed_*
  bool read{}, written{};
};

/// What must hold for a row to match besides map and opcode.
enum class Mandatory : u8 { any, none, p66, f3, f2, not_f3f2 /* none or 66 */ };
enum class Encoding : u8 { legacy, vex };
enum class WidthBit : u8 { any, w0, w1, w0_or_not64 };
enum class VectorLength : u8 { any, l0, l1 };
enum class Mod : u8 { any, memory, reg, ignored /* always a register */ };

struct FlagMasks {
  u32 read{}, written{}, undefined{};  // x86::Flag bits; undefined ones are not in written
};

inline constexpr u8 any_value{0xff};
inline constexpr u8 natural_alignment{0xff};

/// One encoding. Drives decoder, disassembler, feature gate and the differential generator.
struct Row {
  Operation operation{};
  Feature feature{Feature::always};
  Feature second_feature{Feature::always};
  Family family{};
  RegisterFile file{};
  Attribute attributes{};
  FlagMasks flags{};
  u8 alignment{};  // of the memory operand in bytes (#GP when unaligned), 0 none, natural_alignment: the
                   // operand's size

  // ---- the encoding ----
  Encoding encoding{};
  u8 map{};
  u8 opcode{};
  u8 last_opcode{};  // inclusive: +r and +cc rows
  Mandatory mandatory{};
  WidthBit w{};
  VectorLength l{};
  Mod mod{};
  u8 reg{any_value};    // ModRM.reg
  u8 rm{any_value};     // ModRM.rm
  u8 operand_sizes{7};  // bit 0: 16, bit 1: 32, bit 2: 64
  u8 modes{7};          // bit 0: 16-bit code, bit 1: 32-bit code, bit 2: 64-bit code
  u8 address_sizes{7};  // as operand_sizes
  bool has_modrm{};
  bool default64{};  // operand size 8 in 64-bit mode, 2 with 66
  bool force64{};    // operand size 8 in 64-bit mode whatever the prefixes
  bool by_mode{};    // operand size 8 in 64-bit mode, 4 elsewhere, whatever the prefixes
  std::array<OperandSpec, 5> operands{};

  constexpr bool has(Attribute a) const { return static_cast<u16>(attributes) & static_cast<u16>(a); }
  constexpr bool ends_block() const { return has(Attribute::ends_block); }
  constexpr bool lockable() const { return has(Attribute::lockable); }
};

std::span<Row const> table();
Row const& row_of(Instruction const& insn);

/// Flags that it reads: of Jcc, SETcc and CMOVcc those of their condition (SDM vol. 1, appendix B).
u32 flags_read(Instruction const& insn);

/// Bytes to which the memory operand must be aligned, 1 when any address does.
u32 required_alignment(Instruction const& insn);

/// Intel syntax, branch targets relative to `address`: "add eax, dword ptr [rbx+8]".
std::string disassemble(Instruction const& insn, u64 address = 0);

}  // namespace vireo::x86
