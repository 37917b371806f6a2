#include "x86/decoder.h"

#include <algorithm>
#include <cstring>

#include "x86/operand_facts.h"
#include "x86/table_index.h"

namespace vireo::x86 {
namespace {

using namespace operand_facts;

constexpr std::size_t longest{15};

constexpr std::array<u8, 8> base16{rbx, rbx, rbp, rbp, rsi, rdi, rbp, rbx};
constexpr std::array<u8, 4> index16{rsi, rdi, rsi, rdi};

enum class PrefixKind : u8 { none, rex, segment, operand_size, address_size, lock, repne, rep };

constexpr auto prefix_kinds = [] {
  auto kinds = std::array<PrefixKind, 256>{};
  for (auto const segment : {0x26u, 0x2eu, 0x36u, 0x3eu, 0x64u, 0x65u}) kinds[segment] = PrefixKind::segment;
  for (auto rex = 0x40u; rex < 0x50; ++rex) kinds[rex] = PrefixKind::rex;
  kinds[0x66] = PrefixKind::operand_size;
  kinds[0x67] = PrefixKind::address_size;
  kinds[0xf0] = PrefixKind::lock;
  kinds[0xf2] = PrefixKind::repne;
  kinds[0xf3] = PrefixKind::rep;
  return kinds;
}();

/// One decoding. Reads a copy of the bytes that zeros follow: bytes missing read as zero, and only finish()
/// looks how many there were, so that the order of failures is the hardware's: bytes first (fetch fault,
/// 15-byte limit), then #UD.
class Decoding {
 public:
  Decoding(std::span<u8 const> bytes, CodeSize code_size, bool protected_mode, Instruction& out)
      : available_{std::min(bytes.size(), longest)},
        code64_{code_size == CodeSize::bits64},
        protected_mode_{protected_mode},
        insn_{out} {
    insn_.code_size = code_size;
    if (bytes.size() >= longest) {
      std::memcpy(bytes_.data(), bytes.data(), 8);
      std::memcpy(bytes_.data() + 7, bytes.data() + 7, 8);
    } else {
      std::memcpy(bytes_.data(), bytes.data(), bytes.size());
    }
  }

  DecodeStatus run() { return finish(parse()); }

 private:
  u8 next() { return bytes_[at_++]; }
  u64 next_le(unsigned width) {  // 1 to 8
    auto value = u64{};
    std::memcpy(&value, &bytes_[at_], 8);
    at_ += width;
    return value & (~u64{0} >> (64 - 8 * width));
  }
  u64 read_immediate(unsigned width) {
    if (insn_.immediate_offset == 0) insn_.immediate_offset = static_cast<u8>(at_);
    return next_le(width);
  }
  static i64 sign_extend(u64 value, unsigned width) {
    auto const shift = 64 - 8 * width;
    return static_cast<i64>(value << shift) >> shift;
  }
  DecodeStatus parse();
  DecodeStatus finish(DecodeStatus otherwise);

  u8 read_prefixes();
  bool is_vex(u8 opcode) const;
  bool read_vex(u8 opcode);
  void read_opcode(u8 first);
  void read_memory();
  void read_memory16();
  void read_sib();
  Row const* match(OpcodeRows rows);
  void settle_sizes(Row const& row);
  void read_operands(Row const& row);
  void read_unusual_operand(OperandSpec const& spec, Sizes const& sizes, Operand& operand);
  bool allowed(Row const& row) const;
  bool operands_allowed(Row const& row) const;
  bool gather_registers_differ() const;
  void drop_ignored_vex_bits(Row const& row);

  u8 mod() const { return insn_.modrm >> 6; }
  u8 reg() const { return static_cast<u8>(((insn_.modrm >> 3) & 7) | rex_r_); }
  u8 rm() const { return static_cast<u8>((insn_.modrm & 7) | rex_b_); }
  SegmentRegister overridden(SegmentRegister segment) const {
    return insn_.prefixes.has_segment ? insn_.prefixes.segment : segment;
  }

  std::array<u8, 48> bytes_{};  // behind 15 bytes at most 20 more are read
  std::size_t available_;
  bool code64_;
  bool protected_mode_;
  Instruction& insn_;
  std::size_t at_{};
  Encoding encoding_{Encoding::legacy};
  Mandatory mandatory_{Mandatory::none};
  bool wide_{};  // REX.W or VEX.W
  u8 rex_r_{}, rex_x_{}, rex_b_{};
  u8 sib_index_{no_register};
  u8 sources_{};  // SourceFacts::needs of all operands
};

DecodeStatus Decoding::finish(DecodeStatus otherwise) {
  auto const length = std::min(at_, available_);
  auto const mask = [](std::size_t bytes) {
    return bytes == 0 ? 0 : ~u64{0} >> (64 - 8 * std::min(bytes, 8uz));
  };
  auto halves = std::array<u64, 2>{};
  std::memcpy(halves.data(), bytes_.data(), 16);
  halves[0] &= mask(length);
  halves[1] &= mask(length < 8 ? 0 : length - 8);
  std::memcpy(insn_.bytes.data(), halves.data(), 16);
  insn_.length = static_cast<u8>(length);
  if (at_ <= available_) return otherwise;
  return available_ == longest ? DecodeStatus::too_long : DecodeStatus::truncated;
}

u8 Decoding::read_prefixes() {
  auto& prefixes = insn_.prefixes;
  // Nearly all have a REX or nothing: without a branch on which.
  auto const first = bytes_[0];
  auto const has_rex = static_cast<unsigned>(code64_) & static_cast<unsigned>((first & 0xf0) == 0x40);
  if (prefix_kinds[bytes_[has_rex]] == PrefixKind::none) {
    prefixes.rex = static_cast<u8>(first & (0 - has_rex));
    at_ = has_rex + 1;
    return bytes_[has_rex];
  }
  for (;;) {
    auto const byte = next();
    auto const kind = prefix_kinds[byte];
    if (kind == PrefixKind::none || (kind == PrefixKind::rex && !code64_)) return byte;
    prefixes.rex = 0;  // counts only directly before the opcode
    switch (kind) {
      case PrefixKind::none: break;
      case PrefixKind::rex: prefixes.rex = byte; break;
      case PrefixKind::segment: {
        auto const reg = byte < 0x40 ? static_cast<SegmentRegister>((byte >> 3) & 3)
                                     : static_cast<SegmentRegister>(4 + (byte & 1));
        if (code64_ && reg < SegmentRegister::fs) break;
        prefixes.has_segment = true;
        prefixes.segment = reg;
        break;
      }
      case PrefixKind::operand_size: prefixes.operand_size = true; break;
      case PrefixKind::address_size: prefixes.address_size = true; break;
      case PrefixKind::lock: prefixes.lock = true; break;
      case PrefixKind::repne: prefixes.repne = true, prefixes.rep = false; break;
      case PrefixKind::rep: prefixes.rep = true, prefixes.repne = false; break;
    }
  }
}

bool Decoding::is_vex(u8 opcode) const {
  if (opcode != 0xc4 && opcode != 0xc5) return false;
  if (code64_) return true;
  return protected_mode_ && (bytes_[at_] & 0xc0) == 0xc0;
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
  auto const rm3 = insn_.modrm & 7u;
  auto width = unsigned{mod()};
  if (mod() == 0 && rm3 == 6) {
    width = 2;
  } else {
    memory.base = base16[rm3];
    if (rm3 < 4) memory.index = index16[rm3];
  }
  if (width != 0) memory.displacement = sign_extend(next_le(width), width);
}

void Decoding::read_sib() {
  auto& memory = insn_.memory;
  auto const sib = next();
  auto const index = static_cast<u8>(((sib >> 3) & 7) | rex_x_);
  memory.scale = static_cast<u8>(1 << (sib >> 6));
  if (index != rsp) memory.index = index;
  sib_index_ = index;
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
    if (width != 0) memory.displacement = sign_extend(next_le(width), width);
  }
  memory.segment =
      overridden(memory.base == rsp || memory.base == rbp ? SegmentRegister::ss : SegmentRegister::ds);
}

Row const* Decoding::match(OpcodeRows rows) {
  auto const modrm = insn_.modrm;
  auto const traits = trait::code_size(insn_.code_size) | trait::mandatory(mandatory_) |
                      (!wide_    ? trait::narrow
                       : code64_ ? trait::wide64
                                 : trait::wide_outside64) |
                      trait::vector_length(insn_.prefixes.vex_length) |
                      trait::operand_size(insn_.operand_size) |
                      (mod() == 3 ? trait::register_form : trait::memory_form) | (rex_b_ ? trait::rex_b : 0) |
                      trait::reg((modrm >> 3) & 7u) | trait::rm(modrm & 7u);
  for (auto const& candidate : candidates(rows)) {
    if (candidate.refused & traits) continue;
    insn_.row = candidate.row;
    return row_list + candidate.row;
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

void Decoding::read_operands(Row const& row) {
  auto const& sizes = size_table[size_state(insn_.operand_size, insn_.prefixes.vex_length, wide_, code64_)];
  auto const in_memory = insn_.has_modrm && mod() != 3;
  auto const vvvv = static_cast<u8>(insn_.prefixes.vex_vvvv & (code64_ ? 15 : 7));
  auto const plus = static_cast<u8>((insn_.opcode & 7) | rex_b_);
  auto const numbers = std::array<u8, 8>{
      0, reg(), rm(), vvvv, plus, static_cast<u8>((insn_.modrm >> 3) & 7), static_cast<u8>(insn_.modrm & 7)};
  for (auto const& spec : row.operands) {
    if (spec.source == Source::none) break;
    auto& operand = insn_.operands[insn_.operand_count++];
    auto const& facts = source_facts[static_cast<u8>(spec.source)];
    sources_ |= facts.needs;
    auto const kind = in_memory ? facts.memory_kind : facts.register_kind;
    auto const is_memory = kind == OperandKind::memory;
    auto const size = sizes[static_cast<u8>(is_memory ? spec.memory_size : spec.register_size)];
    auto number = is_memory ? 0 : static_cast<u8>(numbers[static_cast<u8>(facts.number)] + spec.fixed);
    // Without REX these are AH CH DH BH.
    auto const high = kind == OperandKind::gpr && size == 1 && (number & 0xc) == 4 && insn_.prefixes.rex == 0;
    operand = {.kind = kind,
               .reg = static_cast<u8>(high ? number - 4 : number),
               .size = size,
               .high = high,
               .read = spec.read,
               .written = spec.written};
    if (facts.needs & needs_bytes) read_unusual_operand(spec, sizes, operand);
  }
}

/// What is more than a register number or the memory operand of ModRM.
void Decoding::read_unusual_operand(OperandSpec const& spec, Sizes const& sizes, Operand& operand) {
  auto const memory = [&](u8 base, SegmentRegister segment) {
    operand.size = sizes[static_cast<u8>(spec.memory_size)];
    operand.reg = 0;
    insn_.memory = MemoryOperand{.segment = segment, .base = base};
  };
  switch (spec.source) {
    using enum Source;
    case moffs:
      memory(no_register, overridden(SegmentRegister::ds));
      insn_.memory.displacement = static_cast<i64>(read_immediate(insn_.address_size));
      break;
    case string_source: memory(rsi, overridden(SegmentRegister::ds)); break;
    case string_destination:
      if (insn_.memory.base == no_register) memory(rdi, SegmentRegister::es);
      break;
    case implicit_memory: memory(spec.fixed, overridden(SegmentRegister::ds)); break;
    case is4_vector:
      insn_.immediate = read_immediate(1);
      operand.reg = static_cast<u8>(insn_.immediate >> 4 & (code64_ ? 15 : 7));
      break;
    case one: insn_.immediate = 1; break;
    case immediate: insn_.immediate = read_immediate(operand.size); break;
    case immediate_signed: {
      auto const encoded = sizes[static_cast<u8>(spec.memory_size)];
      insn_.immediate = static_cast<u64>(sign_extend(read_immediate(encoded), encoded));
      break;
    }
    case immediate2: insn_.immediate2 = read_immediate(operand.size); break;
    case relative: {
      operand.size = sizes[static_cast<u8>(spec.register_size == Size::v ? Size::z : spec.register_size)];
      insn_.immediate = static_cast<u64>(sign_extend(read_immediate(operand.size), operand.size));
      break;
    }
    case far_pointer:
      insn_.immediate = read_immediate(sizes[static_cast<u8>(Size::z)]);
      insn_.immediate2 = next_le(2);
      break;
    default: break;
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
  if (prefixes.lock && !(row.lockable() && insn_.operands[0].kind == OperandKind::memory)) return false;
  if (encoding_ == Encoding::vex) {
    if (prefixes.operand_size || prefixes.rep || prefixes.repne || prefixes.lock || prefixes.rex != 0)
      return false;
    if (!(sources_ & needs_vvvv) && prefixes.vex_vvvv != 0) return false;
  }
  return !(sources_ & needs_check) || operands_allowed(row);
}

bool Decoding::operands_allowed(Row const& row) const {
  for (auto i = 0uz; i < insn_.operand_count; ++i) {
    auto const& operand = insn_.operands[i];
    if (operand.kind == OperandKind::control && (0x11d & (1 << operand.reg)) == 0) return false;
    if (operand.kind == OperandKind::debug && operand.reg > 7) return false;
    if (operand.kind == OperandKind::segment && operand.reg > 5) return false;
    if (row.operands[i].source == Source::vsib &&
        (insn_.address_size == 2 || (insn_.modrm & 7) != 4 || !gather_registers_differ()))
      return false;
  }
  return row.operation != Operation::mov_to_segment ||
         insn_.operands[0].reg != static_cast<u8>(SegmentRegister::cs);
}

/// Outside 64-bit mode the top bit of VEX.vvvv is ignored, and VEX.W where it would choose a 64-bit general
/// register.
void Decoding::drop_ignored_vex_bits(Row const& row) {
  if (sources_ & needs_vvvv) insn_.prefixes.vex_vvvv &= 7;
  if (row.w != WidthBit::w0 && row.w != WidthBit::w1) insn_.prefixes.vex_w = false;
}

DecodeStatus Decoding::parse() {
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
  if (!known) return DecodeStatus::invalid;

  auto const rows = opcode_index[opcode_key(encoding_, insn_.map, insn_.opcode)];
  if (rows.count == 0) return DecodeStatus::invalid;
  if (rows.modrm != ModrmUse::none) {
    insn_.has_modrm = true;
    insn_.modrm_offset = static_cast<u8>(at_);
    insn_.modrm = next();
    if (mod() != 3 && rows.modrm != ModrmUse::registers) read_memory();
  }
  auto const* row = match(rows);
  if (row == nullptr) return DecodeStatus::invalid;
  insn_.operation = row->operation;
  settle_sizes(*row);
  read_operands(*row);
  if (sources_ & needs_vsib) {
    insn_.memory.vector_index = sib_index_;
    insn_.memory.index = no_register;
  } else if (insn_.memory.index == no_register) {
    insn_.memory.scale = 1;
  }
  if (insn_.immediate_offset == 0) insn_.immediate_offset = static_cast<u8>(at_);
  if (!code64_) drop_ignored_vex_bits(*row);
  return allowed(*row) ? DecodeStatus::ok : DecodeStatus::invalid;
}

/// In pieces: as a whole it becomes REP STOS, which took a fifth of the time.
void clear(Instruction& out) {
  static constexpr auto blank = Instruction{};
  static_assert(std::is_trivially_copyable_v<Instruction> && sizeof(Instruction) % 16 == 0);
  // SOUND: copies the object representation of a trivially copyable type.
  auto* to = reinterpret_cast<u8*>(&out);
  auto const* from = reinterpret_cast<u8 const*>(&blank);
  [&]<std::size_t... i>(std::index_sequence<i...>) {
    (std::memcpy(to + 16 * i, from + 16 * i, 16), ...);
  }(std::make_index_sequence<sizeof(Instruction) / 16>{});
}

}  // namespace

DecodeStatus decode(std::span<u8 const> bytes, CodeSize code_size, bool protected_mode, Instruction& out) {
  clear(out);
  return Decoding{bytes, code_size, protected_mode, out}.run();
}

}  // namespace vireo::x86
