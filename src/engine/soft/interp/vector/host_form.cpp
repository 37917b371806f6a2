#include "engine/soft/interp/vector/host_form.h"

#include "x86/table.h"

namespace vireo::engine::soft::vector {
namespace {

using x86::Instruction;
using x86::OperandKind;
using x86::RegisterFile;
using x86::Source;

constexpr u8 rex_b{1}, rex_x{2}, rex_r{4}, rex_w{8};

/// The prefixes as they stand in the guest's bytes, extension bits not inverted.
struct RawPrefixes {
  u8 rex{};  // W R X B, from REX or VEX
  bool operand_size{};
  u8 repeat{};  // F2 or F3, the last one
  u8 vex_pp{}, vex_vvvv{};
  bool vex_length{};
};

RawPrefixes raw_prefixes(Instruction const& insn) {
  auto raw = RawPrefixes{};
  std::size_t at{};
  for (; at < insn.length; at++) {
    auto const byte = insn.bytes[at];
    if (byte == 0x66)
      raw.operand_size = true;
    else if (byte == 0xf2 || byte == 0xf3)
      raw.repeat = byte;
    else if (byte != 0x26 && byte != 0x2e && byte != 0x36 && byte != 0x3e && byte != 0x64 && byte != 0x65 &&
             byte != 0x67 && byte != 0xf0 && (byte & 0xf0) != 0x40)
      break;
  }
  if (!insn.prefixes.vex) {
    raw.rex = insn.prefixes.rex & 0xf;
    return raw;
  }
  auto const three = insn.bytes[at] == 0xc4;
  auto const first = static_cast<u8>(~insn.bytes[at + 1] & 0xff);
  auto const last = insn.bytes[at + (three ? 2 : 1)];
  if (first & 0x80) raw.rex |= rex_r;
  if (three && (first & 0x40)) raw.rex |= rex_x;
  if (three && (first & 0x20)) raw.rex |= rex_b;
  if (insn.prefixes.vex_w) raw.rex |= rex_w;  // where it counts in the guest's mode
  raw.vex_vvvv = static_cast<u8>(~(last >> 3) & 0xf);
  raw.vex_length = last & 4;
  raw.vex_pp = last & 3;
  return raw;
}

class Writer {
 public:
  explicit Writer(HostForm& form) : form_{form} {}
  void put(u8 byte) { form_.bytes[form_.length++] = byte; }

 private:
  HostForm& form_;
};

}  // namespace

HostForm host_form(Instruction const& insn) {
  auto form = HostForm{};
  auto to = Writer{form};
  auto const& row = x86::row_of(insn);
  auto const code64 = insn.code_size == x86::CodeSize::bits64;
  auto raw = raw_prefixes(insn);
  if (!code64) {  // extension bits are absent or ignored there
    raw.rex &= rex_w;
    raw.vex_vvvv &= 7;
  }
  auto modrm = insn.modrm;
  if (insn.has_modrm && (modrm >> 6) != 3) {
    modrm = static_cast<u8>((modrm & 0x38) | 6);  // [rsi]
    raw.rex &= rex_w | rex_r;
  }
  for (std::size_t i = 0; i < insn.operand_count; i++) {
    if (insn.operands[i].kind != OperandKind::gpr) continue;
    if (!code64) raw.rex &= static_cast<u8>(~rex_w);
    auto const source = row.operands[i].source;
    if (source == Source::rm_gpr || source == Source::rm_gpr_only) {
      modrm &= 0xf8;
      raw.rex &= static_cast<u8>(~rex_b);
    } else if (source == Source::reg_gpr) {
      modrm &= 0xc7;
      raw.rex &= static_cast<u8>(~rex_r);
    }
  }

  if (row.file == RegisterFile::x87) {
    to.put(insn.opcode);
    to.put(modrm);
    return form;
  }
  if (insn.prefixes.vex) {
    to.put(0xc4);
    to.put(static_cast<u8>((~(raw.rex << 5) & 0xe0) | insn.map));
    to.put(static_cast<u8>(((raw.rex & rex_w) << 4) | ((~raw.vex_vvvv & 0xf) << 3) | (raw.vex_length ? 4 : 0) |
                           raw.vex_pp));
  } else {
    if (raw.operand_size) to.put(0x66);
    if (raw.repeat != 0) to.put(raw.repeat);
    if (raw.rex != 0) to.put(static_cast<u8>(0x40 | raw.rex));
    to.put(0x0f);
    if (insn.map == 2) to.put(0x38);
    if (insn.map == 3) to.put(0x3a);
  }
  to.put(insn.opcode);
  if (insn.has_modrm) to.put(modrm);
  for (std::size_t i = insn.immediate_offset; i < insn.length; i++) {
    auto const last = code64 || row.operands[3].source != Source::is4_vector;
    to.put(last ? insn.bytes[i]
                : static_cast<u8>(insn.bytes[i] & 0x7f));  // is4's bit 7 is ignored outside 64-bit mode
  }
  return form;
}

}  // namespace vireo::engine::soft::vector
