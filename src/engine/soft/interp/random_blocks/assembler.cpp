#include "engine/soft/interp/random_blocks/assembler.h"

namespace vireo::engine::soft::differential {
namespace {

constexpr u64 low32{0xffff'ffff};

unsigned number_of(u8 reg) { return reg == x86::no_register ? 0u : reg; }

}  // namespace

void Assembler::bytes(std::initializer_list<unsigned> bytes) {
  for (auto const byte : bytes) code_.push_back(static_cast<u8>(byte));
}

void Assembler::number(u64 value, unsigned bytes) {
  for (auto i = 0u; i < bytes; ++i) code_.push_back(static_cast<u8>(value >> (8 * i)));
}

void Assembler::prefixes(Form const& form, u8 segment, bool narrow) {
  if (form.lock) bytes({0xf0});
  if (segment != 0) bytes({segment});
  if (narrow) bytes({0x67});
  if (form.width == 2) bytes({0x66});
  if (form.prefix != 0) bytes({form.prefix});
}

void Assembler::rex_and_opcode(Form const& form, Gpr reg, u8 index, u8 base, bool byte_rm) {
  auto const byte_reg = form.width == 1 && !form.byte_operand && !reg.extension;
  auto const wants_low = (byte_reg && !reg.high && reg.number >= 4) || (byte_rm && base >= 4 && base < 8);
  auto const rex = (form.width == 8 ? 8u : 0u) | (reg.number >= 8 ? 4u : 0u) |
                   (number_of(index) >= 8 ? 2u : 0u) | (number_of(base) >= 8 ? 1u : 0u);
  if (rex != 0 || wants_low) {
    failed_ |= !code64_ || reg.high;
    bytes({0x40 | rex});
  }
  for (auto shift = 16; shift >= 0; shift -= 8)
    if (shift == 0 || form.opcode >> shift != 0) bytes({form.opcode >> shift & 0xff});
}

void Assembler::modrm(Form const& form, Gpr reg, Gpr rm) {
  prefixes(form, 0, false);
  auto const byte_rm = form.width == 1 || form.byte_operand;
  auto const before = code_.size();
  rex_and_opcode(form, reg, 0, rm.number, byte_rm && !rm.high);
  failed_ |= rm.high && (code_[before] & 0xf0) == 0x40 && code64_;
  bytes({0xc0u | (code_of(reg) & 7u) << 3 | (code_of(rm) & 7u)});
}

void Assembler::modrm(Form const& form, Gpr reg, Place const& rm) {
  prefixes(form, rm.segment, rm.narrow);
  rex_and_opcode(form, reg, rm.index, rm.base, false);
  auto const middle = (code_of(reg) & 7u) << 3;
  auto const displacement = static_cast<u32>(rm.displacement);
  if (rm.relative) {
    bytes({middle | 5});
    return number(static_cast<u64>(rm.displacement) - (origin_ + size() + 4 + form.immediate_bytes), 4);
  }
  auto const scale = rm.scale == 1 ? 0u : rm.scale == 2 ? 0x40u : rm.scale == 4 ? 0x80u : 0xc0u;
  auto const index = (rm.index == x86::no_register ? 4u : rm.index & 7u) << 3;
  if (rm.base == x86::no_register) {
    bytes({middle | 4, scale | index | 5});
    return number(displacement, 4);
  }
  auto const brief = rm.displacement >= -128 && rm.displacement < 128;
  auto const none = rm.displacement == 0 && (rm.base & 7) != 5;
  auto const mod = none ? 0u : brief ? 0x40u : 0x80u;
  if (rm.index != x86::no_register || (rm.base & 7) == 4)
    bytes({mod | middle | 4, scale | index | (rm.base & 7u)});
  else
    bytes({mod | middle | (rm.base & 7u)});
  if (!none) number(displacement, brief ? 1 : 4);
}

void Assembler::modrm(Form const& form, Gpr reg, Label address) {
  modrm(form, reg, Place{});
  code_.resize(code_.size() - 4);
  reference(address, 4, true);
}

void Assembler::mov_immediate(u8 reg, u64 value) {
  auto const wide = value > low32;
  failed_ |= wide && !code64_;
  opcode_register(0xb8, reg, wide ? 8 : 4);
  number(value, wide ? 8 : 4);
}

void Assembler::mov_address(u8 reg, Label label) {
  opcode_register(0xb8, reg, 4);
  reference(label, 4, true);
}

void Assembler::store_address(Place const& place, Label label) {
  modrm({.opcode = 0xc7, .width = static_cast<u8>(code64_ ? 8 : 4), .immediate_bytes = 4}, slash(0), place);
  reference(label, 4, true);
}

void Assembler::push_address(Label label) {
  bytes({0x68});
  reference(label, 4, true);
}

void Assembler::opcode_register(u8 opcode, u8 reg, u8 width) {
  if (width == 2) bytes({0x66});
  if (width == 8 || reg >= 8) bytes({(width == 8 ? 0x48u : 0x40u) | (reg >= 8 ? 1u : 0u)});
  bytes({opcode + (reg & 7u)});
}

Assembler::Label Assembler::label() {
  labels_.push_back(unbound);
  return static_cast<Label>(labels_.size() - 1);
}

void Assembler::bind(Label label) { labels_[static_cast<u32>(label)] = size(); }

void Assembler::reference(Label label, u8 bytes, bool absolute) {
  fixups_.push_back({.at = size(), .label = label, .bytes = bytes, .absolute = absolute});
  number(0, bytes);
}

void Assembler::jump(Label to, bool brief) {
  bytes({brief ? 0xebu : 0xe9u});
  reference(to, brief ? 1 : 4, false);
}

void Assembler::jump_if(u8 condition, Label to, bool brief) {
  if (brief)
    bytes({0x70u + condition});
  else
    bytes({0x0f, 0x80u + condition});
  reference(to, brief ? 1 : 4, false);
}

void Assembler::call(Label to) {
  bytes({0xe8});
  reference(to, 4, false);
}

void Assembler::loop(u8 opcode, Label to) {
  bytes({opcode});
  reference(to, 1, false);
}

void Assembler::finish() {
  for (auto const& fixup : fixups_) {
    auto const target = labels_[static_cast<u32>(fixup.label)];
    auto const distance = i64{target} - (fixup.at + fixup.bytes);
    failed_ |= target == unbound || (fixup.bytes == 1 && (distance < -128 || distance > 127));
    auto const value = fixup.absolute ? origin_ + target : static_cast<u64>(distance);
    for (auto i = 0u; i < fixup.bytes; ++i) code_[fixup.at + i] = static_cast<u8>(value >> (8 * i));
  }
}

}  // namespace vireo::engine::soft::differential
