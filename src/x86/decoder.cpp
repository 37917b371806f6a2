#include "x86/decoder.h"

#include <algorithm>

#include "vocab/bytes.h"
#include "x86/table_index.h"

namespace vireo::x86 {
namespace {

constexpr std::size_t longest{15};

constexpr std::array<u8, 8> base16{rbx, rbx, rbp, rbp, rsi, rdi, rbp, rbx};
constexpr std::array<u8, 4> index16{rsi, rdi, rsi, rdi};

/// One decoding. Reads through next(), which remembers the first failure and then yields zeros, so that the
/// order of failures is the hardware's: bytes first (fetch fault, 15-byte limit), then #UD.
class Decoding {
 public:
  Decoding(std::span<u8 const> bytes, CodeSize code_size, bool protected_mode, Instruction& out)
      : bytes_{bytes}, code64_{code_size == CodeSize::bits64}, protected_mode_{protected_mode}, insn_{out} {
    insn_.code_size = code_size;
  }

  DecodeStatus run();

 private:
  u8 next() {
    if (at_ >= bytes_.size() || at_ >= longest) {
      if (status_ == DecodeStatus::ok)
        status_ = at_ >= longest ? DecodeStatus::too_long : DecodeStatus::truncated;
      return 0;
    }
    return insn_.bytes[at_] = bytes_[at_], bytes_[at_++];
  }
  u64 next_le(unsigned width) {
    auto value = u64{};
    for (auto i = 0u; i < width; ++i) value |= u64{next()} << (8 * i);
    return value;
  }
  u64 read_immediate(unsigned width) {
    if (insn_.immediate_offset == 0) insn_.immediate_offset = static_cast<u8>(at_);
    return next_le(width);
  }
  static i64 sign_extend(u64 value, unsigned width) {
    auto const shift = 64 - 8 * width;
    return static_cast<i64>(value << shift) >> shift;
  }
  DecodeStatus finish(DecodeStatus otherwise) {
    insn_.length = static_cast<u8>(at_);
    return status_ != DecodeStatus::ok ? status_ : otherwise;
  }

  u8 read_prefixes();
  bool is_vex(u8 opcode) const;
  bool read_vex(u8 opcode);
  void read_opcode(u8 first);
  void read_memory();
  void read_memory16();
  void read_sib();
  Row const* match();
  bool matches(Row const& row) const;
  void settle_sizes(Row const& row);
  u8 bytes_of(Size size) const;
  void read_operand(OperandSpec const& spec, Operand& operand);
  void set_gpr(Operand& operand, unsigned number, u8 size) const;
  bool allowed(Row const& row) const;
  bool gather_registers_differ() const;
  void drop_ignored_vex_bits(Row const& row);

  u8 mod() const { return insn_.modrm >> 6; }
  u8 reg() const { return static_cast<u8>(((insn_.modrm >> 3) & 7) | rex_r_); }
  u8 rm() const { return static_cast<u8>((insn_.modrm & 7) | rex_b_); }
  SegmentRegister overridden(SegmentRegister segment) const {
    return insn_.prefixes.has_segment ? insn_.prefixes.segment : segment;
  }
  bool memory_form() const { return insn_.has_modrm && mod() != 3; }

  std::span<u8 const> bytes_;
  bool code64_;
  bool protected_mode_;
  Instruction& insn_;
  std::size_t at_{};
  DecodeStatus status_{DecodeStatus::ok};
  Encoding encoding_{Encoding::legacy};
  Mandatory mandatory_{Mandatory::none};
  bool wide_{};  // REX.W or VEX.W
  u8 rex_r_{}, rex_x_{}, rex_b_{};
  bool uses_vvvv_{};
};

u8 Decoding::read_prefixes() {
  auto& prefixes = insn_.prefixes;
  while (status_ == DecodeStatus::ok) {
    auto const byte = next();
    auto const segment = [&](SegmentRegister reg) {
      if (code64_ && reg < SegmentRegister::fs) return;
      prefixes.has_segment = true;
      prefixes.segment = reg;
    };
    switch (byte) {
      case 0x26: segment(SegmentRegister::es); break;
      case 0x2e: segment(SegmentRegister::cs); break;
      case 0x36: segment(SegmentRegister::ss); break;
      case 0x3e: segment(SegmentRegister::ds); break;
      case 0x64: segment(SegmentRegister::fs); break;
      case 0x65: segment(SegmentRegister::gs); break;
      case 0x66: prefixes.operand_size = true; break;
      case 0x67: prefixes.address_size = true; break;
      case 0xf0: prefixes.lock = true; break;
      case 0xf2: prefixes.repne = true, prefixes.rep = false; break;
      case 0xf3: prefixes.rep = true, prefixes.repne = false; break;
      default:
        if (!code64_ || (byte & 0xf0) != 0x40) return byte;
        prefixes.rex = byte;
        continue;
    }
    prefixes.rex = 0;  // REX counts only directly before the opcode
  }
  return 0;
}

bool Decoding::is_vex(u8 opcode) const {
  if (opcode != 0xc4 && opcode != 0xc5) return false;
  if (code64_) return true;
  return protected_mode_ && at_ < bytes_.size() && at_ < longest && (bytes_[at_] & 0xc0) == 0xc0;
}

/// SDM vol. 2, 2.3.5. False for a map that has no instructions.
bool Decoding::read_vex(u8 opcode) {
  auto& prefixes = insn_.prefixes;
  auto const first = next();
  auto last = first;
  auto map = u8{1};
  if (opcode == 0xc4) {
    last = next();
    map = first & 0x1f;
    if (code64_) {
      rex_x_ = first & 0x40 ? 0 : 8;
      rex_b_ = first & 0x20 ? 0 : 8;
    }
    wide_ = last & 0x80;
  }
  if (code64_) rex_r_ = first & 0x80 ? 0 : 8;
  prefixes.vex = true;
  prefixes.vex_w = wide_;
  prefixes.vex_length = (last >> 2) & 1;
  prefixes.vex_vvvv = (~last >> 3) & 0xf;
  constexpr std::array<Mandatory, 4> pp{Mandatory::none, Mandatory::p66, Mandatory::f3, Mandatory::f2};
  mandatory_ = pp[last & 3];
  encoding_ = Encoding::vex;
  insn_.map = map;
  insn_.opcode = next();
  return map >= 1 && map <= 3;
}

void Decoding::read_opcode(u8 first) {
  auto const& prefixes = insn_.prefixes;
  insn_.opcode = first;
  if (first == 0x0f) {
    insn_.opcode = next();
    insn_.map = 1;
    if (insn_.opcode == 0x38 || insn_.opcode == 0x3a) {
      insn_.map = insn_.opcode == 0x38 ? 2 : 3;
      insn_.opcode = next();
    }
  }
  wide_ = prefixes.rex & 8;
  rex_r_ = prefixes.rex & 4 ? 8 : 0;
  rex_x_ = prefixes.rex & 2 ? 8 : 0;
  rex_b_ = prefixes.rex & 1 ? 8 : 0;
  mandatory_ = prefixes.rep            ? Mandatory::f3
               : prefixes.repne        ? Mandatory::f2
               : prefixes.operand_size ? Mandatory::p66
                                       : Mandatory::none;
}

void Decoding::read_memory16() {
  auto& memory = insn_.memory;
  auto const rm3 = insn_.modrm & 7;
  auto width = mod() == 3 ? 0u : mod();
  if (mod() == 0 && rm3 == 6) {
    width = 2;
  } else {
    memory.base = base16[rm3];
    if (rm3 < 4) memory.index = index16[rm3];
  }
  memory.displacement = sign_extend(next_le(width), width == 0 ? 8 : width);
}

void Decoding::read_sib() {
  auto& memory = insn_.memory;
  auto const sib = next();
  auto const index = static_cast<u8>(((sib >> 3) & 7) | rex_x_);
  memory.scale = static_cast<u8>(1 << (sib >> 6));
  if (index != rsp) memory.index = index;
  memory.vector_index = index;
  if ((sib & 7) != 5 || mod() != 0) memory.base = static_cast<u8>((sib & 7) | rex_b_);
}

/// SDM vol. 2, 2.1.5.
void Decoding::read_memory() {
  auto& memory = insn_.memory;
  if (insn_.address_size == 2) {
    read_memory16();
  } else {
    auto width = mod() == 1 ? 1u : mod() == 2 ? 4u : 0u;
    if ((insn_.modrm & 7) == 4) {
      read_sib();
      if (memory.base == no_register) width = 4;
    } else if (mod() == 0 && (insn_.modrm & 7) == 5) {
      width = 4;
      memory.rip_relative = code64_;
    } else {
      memory.base = rm();
    }
    memory.displacement = width == 0 ? 0 : sign_extend(next_le(width), width);
  }
  memory.segment =
      overridden(memory.base == rsp || memory.base == rbp ? SegmentRegister::ss : SegmentRegister::ds);
}

bool Decoding::matches(Row const& row) const {
  if (!(row.modes & (1 << static_cast<unsigned>(insn_.code_size)))) return false;
  if (row.mod == Mod::memory && mod() == 3) return false;
  if (row.mod == Mod::reg && mod() != 3) return false;
  if (row.reg != any_value && row.reg != ((insn_.modrm >> 3) & 7)) return false;
  if (row.rm != any_value && row.rm != (insn_.modrm & 7)) return false;
  switch (row.mandatory) {
    case Mandatory::any: break;
    case Mandatory::not_f3f2:
      if (mandatory_ == Mandatory::f3 || mandatory_ == Mandatory::f2) return false;
      break;
    default:
      if (row.mandatory != mandatory_) return false;
  }
  switch (row.w) {
    case WidthBit::any: break;
    case WidthBit::w0:
      if (wide_) return false;
      break;
    case WidthBit::w1:
      if (!wide_) return false;
      break;
    case WidthBit::w0_or_not64:
      if (wide_ && code64_) return false;
      break;
  }
  if (row.l == VectorLength::l0 && insn_.prefixes.vex_length != 0) return false;
  if (row.l == VectorLength::l1 && insn_.prefixes.vex_length != 1) return false;
  if (row.operand_sizes != 7 && !(row.operand_sizes & (insn_.operand_size >> 1))) return false;
  // 90 is XCHG when REX.B makes it r8.
  return row.operation != Operation::nop || row.map != 0 || rex_b_ == 0;
}

Row const* Decoding::match() {
  for (auto const number : candidates(encoding_, insn_.map, insn_.opcode)) {
    auto const& row = table()[number];
    if (!matches(row)) continue;
    insn_.row = number;
    return &row;
  }
  return nullptr;
}

void Decoding::settle_sizes(Row const& row) {
  auto& prefixes = insn_.prefixes;
  if (encoding_ == Encoding::legacy && row.mandatory != Mandatory::any) {
    if (row.mandatory == Mandatory::f3) prefixes.rep = false;
    if (row.mandatory == Mandatory::f2) prefixes.repne = false;
    if (row.mandatory == Mandatory::p66) {
      prefixes.operand_size = false;
      if (!wide_) insn_.operand_size = 4;
    }
  }
  if (code64_ && (row.force64 || row.by_mode)) insn_.operand_size = 8;
  if (code64_ && row.default64 && insn_.operand_size == 4) insn_.operand_size = 8;
  if (!code64_ && row.by_mode) insn_.operand_size = 4;
  insn_.stack_size = insn_.operand_size;
}

u8 Decoding::bytes_of(Size size) const {
  auto const operand = insn_.operand_size;
  auto const vector = insn_.prefixes.vex_length == 1 ? 32 : 16;
  auto const wide = wide_ && code64_;
  switch (size) {
    using enum Size;
    case none:
    case fx: return 0;
    case b: return 1;
    case w: return 2;
    case d: return 4;
    case q: return 8;
    case t: return 10;
    case dq: return 16;
    case qq: return 32;
    case v:
    case stack: return operand;
    case z: return operand == 2 ? 2 : 4;
    case y: return wide ? 8 : 4;
    case x: return static_cast<u8>(vector);
    case half_x: return static_cast<u8>(vector / 2);
    case quarter_x: return static_cast<u8>(vector / 4);
    case eighth_x: return static_cast<u8>(vector / 8);
    case p: return static_cast<u8>(2 + operand);
    case a: return static_cast<u8>(2 * operand);
    case s: return code64_ ? 10 : 6;
    case x87_environment: return operand == 2 ? 14 : 28;
    case x87_state: return operand == 2 ? 94 : 108;
  }
  return 0;
}

void Decoding::set_gpr(Operand& operand, unsigned number, u8 size) const {
  operand.kind = OperandKind::gpr;
  operand.size = size;
  operand.reg = static_cast<u8>(number);
  if (size != 1 || insn_.prefixes.rex != 0 || number < 4 || number > 7) return;
  operand.high = true;
  operand.reg = static_cast<u8>(number - 4);
}

void Decoding::read_operand(OperandSpec const& spec, Operand& operand) {
  auto const set = [&](OperandKind kind, unsigned number, Size size) {
    operand.kind = kind;
    operand.reg = static_cast<u8>(number);
    operand.size = bytes_of(size);
  };
  auto const memory = [&](u8 base, SegmentRegister segment) {
    operand.kind = OperandKind::memory;
    operand.size = bytes_of(spec.memory_size);
    insn_.memory = MemoryOperand{.segment = overridden(segment), .base = base};
  };
  auto const mask = code64_ ? 15u : 7u;
  operand.read = spec.read;
  operand.written = spec.written;
  switch (spec.source) {
    using enum Source;
    case none: break;
    case rm_gpr:
    case rm_gpr_only:
      if (memory_form() && spec.source == rm_gpr)
        set(OperandKind::memory, 0, spec.memory_size);
      else
        set_gpr(operand, rm(), bytes_of(spec.register_size));
      break;
    case reg_gpr: set_gpr(operand, reg(), bytes_of(spec.register_size)); break;
    case vvvv_gpr: set_gpr(operand, insn_.prefixes.vex_vvvv & mask, bytes_of(spec.register_size)); break;
    case opcode_gpr: set_gpr(operand, (insn_.opcode & 7u) | rex_b_, bytes_of(spec.register_size)); break;
    case fixed_gpr: set(OperandKind::gpr, spec.fixed, spec.register_size); break;
    case rm_memory:
    case vsib: set(OperandKind::memory, 0, spec.memory_size); break;
    case moffs: {
      memory(no_register, SegmentRegister::ds);
      insn_.memory.displacement = static_cast<i64>(read_immediate(insn_.address_size));
      break;
    }
    case string_source: memory(rsi, SegmentRegister::ds); break;
    case string_destination: {
      set(OperandKind::memory, 0, spec.memory_size);
      if (insn_.memory.base == no_register)
        insn_.memory = MemoryOperand{.segment = SegmentRegister::es, .base = rdi};
      break;
    }
    case implicit_memory: memory(spec.fixed, SegmentRegister::ds); break;
    case rm_vector:
      if (memory_form())
        set(OperandKind::memory, 0, spec.memory_size);
      else
        set(OperandKind::vector, rm(), spec.register_size);
      break;
    case rm_vector_only: set(OperandKind::vector, rm(), spec.register_size); break;
    case reg_vector: set(OperandKind::vector, reg(), spec.register_size); break;
    case vvvv_vector: set(OperandKind::vector, insn_.prefixes.vex_vvvv & mask, spec.register_size); break;
    case is4_vector:
      insn_.immediate = read_immediate(1);
      set(OperandKind::vector, static_cast<unsigned>(insn_.immediate >> 4) & mask, spec.register_size);
      break;
    case fixed_vector: set(OperandKind::vector, spec.fixed, spec.register_size); break;
    case rm_mmx:
      if (memory_form())
        set(OperandKind::memory, 0, spec.memory_size);
      else
        set(OperandKind::mmx, insn_.modrm & 7u, spec.register_size);
      break;
    case rm_mmx_only: set(OperandKind::mmx, insn_.modrm & 7u, spec.register_size); break;
    case reg_mmx: set(OperandKind::mmx, (insn_.modrm >> 3) & 7u, spec.register_size); break;
    case reg_segment: set(OperandKind::segment, (insn_.modrm >> 3) & 7u, spec.register_size); break;
    case fixed_segment: set(OperandKind::segment, spec.fixed, spec.register_size); break;
    case reg_control: set(OperandKind::control, reg(), spec.register_size); break;
    case reg_debug: set(OperandKind::debug, reg(), spec.register_size); break;
    case st0: set(OperandKind::x87, 0, spec.register_size); break;
    case sti: set(OperandKind::x87, insn_.modrm & 7u, spec.register_size); break;
    case one:
      set(OperandKind::immediate, 0, spec.register_size);
      insn_.immediate = 1;
      break;
    case immediate:
      set(OperandKind::immediate, 0, spec.register_size);
      insn_.immediate = read_immediate(operand.size);
      break;
    case immediate_signed: {
      set(OperandKind::immediate, 0, spec.register_size);
      auto const encoded = bytes_of(spec.memory_size);
      insn_.immediate = static_cast<u64>(sign_extend(read_immediate(encoded), encoded));
      break;
    }
    case immediate2:
      set(OperandKind::immediate2, 0, spec.register_size);
      insn_.immediate2 = read_immediate(operand.size);
      break;
    case relative: {
      auto const encoded = bytes_of(spec.register_size == Size::v ? Size::z : spec.register_size);
      operand.kind = OperandKind::relative;
      operand.size = encoded;
      insn_.immediate = static_cast<u64>(sign_extend(read_immediate(encoded), encoded));
      break;
    }
    case far_pointer:
      set(OperandKind::far_pointer, 0, spec.register_size);
      insn_.immediate = read_immediate(bytes_of(Size::z));
      insn_.immediate2 = next_le(2);
      break;
  }
}

/// Gathers fault when destination, index and mask are not three registers (SDM vol. 2, VGATHERDPS).
bool Decoding::gather_registers_differ() const {
  auto const mask = code64_ ? 15 : 7;
  auto const selector = insn_.prefixes.vex_vvvv & mask;
  auto const index = insn_.memory.vector_index;
  return reg() != selector && reg() != index && selector != index;
}

/// What is left to be #UD once the row is known.
bool Decoding::allowed(Row const& row) const {
  auto const& prefixes = insn_.prefixes;
  auto const& operands = insn_.operands;
  if (prefixes.lock && !(row.lockable() && operands[0].kind == OperandKind::memory)) return false;
  if (encoding_ == Encoding::vex) {
    if (prefixes.operand_size || prefixes.rep || prefixes.repne || prefixes.lock || prefixes.rex != 0)
      return false;
    if (!uses_vvvv_ && prefixes.vex_vvvv != 0) return false;
  }
  for (auto i = 0uz; i < insn_.operand_count; ++i) {
    auto const& operand = operands[i];
    if (operand.kind == OperandKind::control && (0x11d & (1 << operand.reg)) == 0) return false;
    if (operand.kind == OperandKind::debug && operand.reg > 7) return false;
    if (operand.kind == OperandKind::segment && operand.reg > 5) return false;
    if (row.operands[i].source == Source::vsib &&
        (insn_.address_size == 2 || (insn_.modrm & 7) != 4 || !gather_registers_differ()))
      return false;
  }
  return row.operation != Operation::mov_to_segment || operands[0].reg != static_cast<u8>(SegmentRegister::cs);
}

/// Outside 64-bit mode the top bit of VEX.vvvv is ignored, and VEX.W where it would choose a 64-bit general
/// register.
void Decoding::drop_ignored_vex_bits(Row const& row) {
  if (uses_vvvv_) insn_.prefixes.vex_vvvv &= 7;
  if (row.w != WidthBit::w0 && row.w != WidthBit::w1) insn_.prefixes.vex_w = false;
}

DecodeStatus Decoding::run() {
  auto const first = read_prefixes();
  auto& prefixes = insn_.prefixes;
  auto known = true;
  if (is_vex(first)) {
    known = read_vex(first);
  } else {
    read_opcode(first);
  }
  auto const size16 = insn_.code_size == CodeSize::bits16;
  insn_.address_size = code64_ ? (prefixes.address_size ? 4 : 8) : prefixes.address_size == size16 ? 4 : 2;
  insn_.operand_size = prefixes.operand_size == size16 ? 4 : 2;
  if (code64_ && wide_) insn_.operand_size = 8;
  if (status_ != DecodeStatus::ok || !known) return finish(DecodeStatus::invalid);

  auto const rows = candidates(encoding_, insn_.map, insn_.opcode);
  if (rows.empty()) return finish(DecodeStatus::invalid);
  auto const& front = table()[rows.front()];
  insn_.has_modrm = front.has_modrm;
  if (insn_.has_modrm) {
    insn_.modrm_offset = static_cast<u8>(at_);
    insn_.modrm = next();
    if (mod() != 3 && front.mod != Mod::ignored) read_memory();
  }
  auto const* row = match();
  if (row == nullptr) return finish(DecodeStatus::invalid);
  insn_.operation = row->operation;
  settle_sizes(*row);
  auto gathers = false;
  for (auto const& spec : row->operands) {
    if (spec.source == Source::none) break;
    read_operand(spec, insn_.operands[insn_.operand_count++]);
    uses_vvvv_ |= spec.source == Source::vvvv_gpr || spec.source == Source::vvvv_vector;
    gathers |= spec.source == Source::vsib;
  }
  if (gathers) {
    insn_.memory.index = no_register;
  } else {
    insn_.memory.vector_index = no_register;
    if (insn_.memory.index == no_register) insn_.memory.scale = 1;
  }
  if (insn_.immediate_offset == 0) insn_.immediate_offset = static_cast<u8>(at_);
  if (!code64_) drop_ignored_vex_bits(*row);
  return finish(allowed(*row) ? DecodeStatus::ok : DecodeStatus::invalid);
}

}  // namespace

DecodeStatus decode(std::span<u8 const> bytes, CodeSize code_size, bool protected_mode, Instruction& out) {
  out = Instruction{};
  return Decoding{bytes, code_size, protected_mode, out}.run();
}

}  // namespace vireo::x86
