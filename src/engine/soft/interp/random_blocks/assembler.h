#pragma once

#include <initializer_list>
#include <vector>

#include "x86/instruction.h"

namespace vireo::engine::soft::differential {

/// A memory operand. Without base and index `displacement` is the address.
struct Place {
  u8 base{x86::no_register}, index{x86::no_register}, scale{1};
  i32 displacement{};
  bool relative{};  // to RIP; `displacement` is the address
  bool narrow{};    // 32-bit addressing in 64-bit code
  u8 segment{};     // prefix, or 0

  Place plus(i32 bytes) const {
    auto moved = *this;
    moved.displacement += bytes;
    return moved;
  }
};

/// What stands in ModRM.reg or a register ModRM.rm.
struct Gpr {
  u8 number{};
  bool high{};       // AH, CH, DH or BH
  bool extension{};  // no register but a part of the opcode
};
constexpr Gpr slash(u64 extension) { return {.number = static_cast<u8>(extension), .extension = true}; }

/// How an instruction is written but for its operands. `opcode` as in the manual: 0x0fb6, 0x0f38f0.
struct Form {
  u32 opcode{};
  u8 width{4};          // 1, 2, 4, 8: gives 66 and REX.W
  u8 prefix{};          // F2, F3 or 66
  bool byte_operand{};  // the ModRM.rm register is a byte register, whatever the width
  bool lock{};
  u8 immediate_bytes{};  // that the caller will add
};

/// Writes 64-bit or 32-bit code for programs of the differential test.
class Assembler {
 public:
  enum class Label : u32 {};

  Assembler(bool code64, u64 origin) : code64_{code64}, origin_{origin} {}
  bool code64() const { return code64_; }
  u32 size() const { return static_cast<u32>(code_.size()); }
  std::vector<u8> const& code() const { return code_; }
  /// A short branch did not reach, or AH to BH met REX: the program is not what was meant.
  bool failed() const { return failed_; }

  void bytes(std::initializer_list<unsigned> bytes);
  void bytes(u8 const* from, std::size_t count) { code_.insert(code_.end(), from, from + count); }
  void number(u64 value, unsigned bytes);

  void modrm(Form const& form, Gpr reg, Gpr rm);
  void modrm(Form const& form, Gpr reg, Place const& rm);
  void modrm(Form const& form, Gpr reg, Label address);
  /// reg64 zero-extended from 32 bits where possible.
  void mov_immediate(u8 reg, u64 value);
  void mov_address(u8 reg, Label label);
  /// MOV dword or qword [place], address.
  void store_address(Place const& place, Label label);
  void push_address(Label label);
  void opcode_register(u8 opcode, u8 reg, u8 width);  // PUSH, POP, BSWAP's last byte

  Label label();
  void bind(Label label);
  void jump(Label to, bool brief = false);
  void jump_if(u8 condition, Label to, bool brief = false);
  void call(Label to);
  void loop(u8 opcode, Label to);  // E0..E3
  bool bound(Label label) const { return labels_[static_cast<u32>(label)] != unbound; }
  i64 distance(Label label) const { return i64{labels_[static_cast<u32>(label)]} - size(); }
  /// Resolves all labels.
  void finish();

 private:
  static constexpr u32 unbound{~u32{}};
  struct Fixup {
    u32 at;
    Label label;
    u8 bytes;
    bool absolute;
  };
  void prefixes(Form const& form, u8 segment, bool narrow);
  void rex_and_opcode(Form const& form, Gpr reg, u8 index, u8 base, bool byte_rm);
  void reference(Label label, u8 bytes, bool absolute);
  static u8 code_of(Gpr reg) { return static_cast<u8>(reg.high ? reg.number + 4 : reg.number); }

  bool code64_;
  u64 origin_;
  std::vector<u8> code_;
  std::vector<u32> labels_;
  std::vector<Fixup> fixups_;
  bool failed_{};
};

}  // namespace vireo::engine::soft::differential
