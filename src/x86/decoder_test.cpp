#include "x86/decoder.h"

#include <Zydis/Zydis.h>
#include <fmt/format.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <map>
#include <set>
#include <string>

#include "x86/sampler.h"
#include "x86/table_index.h"

namespace vireo::x86 {
namespace {

struct Reference {
  ZyanStatus status{};
  ZydisDecodedInstruction insn{};
  std::array<ZydisDecodedOperand, ZYDIS_MAX_OPERAND_COUNT> operands{};
  bool valid() const { return ZYAN_SUCCESS(status); }
  std::string mnemonic() const { return valid() ? ZydisMnemonicGetString(insn.mnemonic) : "(invalid)"; }
  std::string isa() const { return valid() ? ZydisISAExtGetString(insn.meta.isa_ext) : ""; }
};

ZydisDecoder make_reference_decoder(CodeSize code_size) {
  auto decoder = ZydisDecoder{};
  switch (code_size) {
    case CodeSize::bits16:
      ZydisDecoderInit(&decoder, ZYDIS_MACHINE_MODE_LEGACY_16, ZYDIS_STACK_WIDTH_16);
      break;
    case CodeSize::bits32:
      ZydisDecoderInit(&decoder, ZYDIS_MACHINE_MODE_LEGACY_32, ZYDIS_STACK_WIDTH_32);
      break;
    case CodeSize::bits64: ZydisDecoderInit(&decoder, ZYDIS_MACHINE_MODE_LONG_64, ZYDIS_STACK_WIDTH_64); break;
  }
  for (auto const mode : {ZYDIS_DECODER_MODE_MPX, ZYDIS_DECODER_MODE_CET, ZYDIS_DECODER_MODE_CLDEMOTE})
    ZydisDecoderEnableMode(&decoder, mode, ZYAN_FALSE);
  return decoder;
}

Reference reference(std::span<u8 const> bytes, CodeSize code_size) {
  static auto const decoders =
      std::array{make_reference_decoder(CodeSize::bits16), make_reference_decoder(CodeSize::bits32),
                 make_reference_decoder(CodeSize::bits64)};
  auto result = Reference{};
  result.status = ZydisDecoderDecodeFull(&decoders[static_cast<u8>(code_size)], bytes.data(), bytes.size(),
                                         &result.insn, result.operands.data());
  return result;
}

/// Instruction sets that Vireo does not offer: #UD here.
bool not_offered(Reference const& ref) {
  static auto const sets = std::set<std::string>{"AMD3DNOW",   "XOP",
                                                 "TBM",        "FMA4",
                                                 "SSE4A",      "VTX",
                                                 "SVM",        "SMX",
                                                 "SGX",        "SGX_ENCLV",
                                                 "PKU",        "RTM",
                                                 "MOVDIR",     "WAITPKG",
                                                 "ENQCMD",     "SERIALIZE",
                                                 "TSX_LDTRK",  "AMX_TILE",
                                                 "AMX_INT8",   "AMX_BF16",
                                                 "GFNI",       "VAES",
                                                 "VPCLMULQDQ", "AVX_VNNI",
                                                 "KEYLOCKER",  "KEYLOCKER_WIDE",
                                                 "UINTR",      "HRESET",
                                                 "CLZERO",     "MONITORX",
                                                 "LWP",        "RDPRU",
                                                 "SNP",        "MCOMMIT",
                                                 "PT",         "CET",
                                                 "INVLPGB",    "TDX",
                                                 "PCONFIG",    "PADLOCK"};
  static auto const offered_all_the_same =
      std::set<ZydisMnemonic>{ZYDIS_MNEMONIC_VMCALL, ZYDIS_MNEMONIC_VMMCALL};
  return (ref.insn.encoding == ZYDIS_INSTRUCTION_ENCODING_EVEX ||
          ref.insn.encoding == ZYDIS_INSTRUCTION_ENCODING_MVEX || ref.isa().starts_with("AVX512") ||
          ref.isa().starts_with("KNC") || sets.contains(ref.isa())) &&
         !offered_all_the_same.contains(ref.insn.mnemonic);
}

/// Where the two differ on purpose, by Zydis' mnemonic.
struct Disagreement {
  bool validity{}, name{}, count{}, size{}, access{};
  std::string_view reason;
};
Disagreement disagreement(Reference const& ref, Instruction const& insn) {
  static auto const list = std::map<std::string, Disagreement>{
      {"salc", {.validity = true, .reason = "undocumented, not offered"}},
      {"syscall", {.validity = true, .reason = "Intel: #UD outside 64-bit mode"}},
      {"sysret", {.validity = true, .reason = "Intel: #UD outside 64-bit mode"}},
      {"prefetchwt1", {.name = true, .access = true, .reason = "a plain prefetch without the feature"}},
      {"feni8087_nop", {.name = true, .reason = "a no-operation since the 80387"}},
      {"fdisi8087_nop", {.name = true, .reason = "a no-operation since the 80387"}},
      {"fsetpm287_nop", {.name = true, .reason = "a no-operation since the 80387"}},
      {"fstpnce", {.name = true, .reason = "an alias of FSTP"}},
      {"fucomp", {.count = true, .reason = "ST0 is not an explicit operand"}},
      {"nop",
       {.count = true,
        .size = true,
        .access = true,
        .reason = "reserved NOPs have one operand that is not touched"}},
      {"xlat", {.count = true, .reason = "the memory operand is listed here"}},
      {"maskmovq", {.count = true, .reason = "the memory operand is listed here"}},
      {"maskmovdqu", {.count = true, .reason = "the memory operand is listed here"}},
      {"vmaskmovdqu", {.count = true, .reason = "the memory operand is listed here"}},
      {"blendvps", {.count = true, .reason = "XMM0 is listed here"}},
      {"blendvpd", {.count = true, .reason = "XMM0 is listed here"}},
      {"pblendvb", {.count = true, .reason = "XMM0 is listed here"}},
      {"sha256rnds2", {.count = true, .reason = "XMM0 is listed here"}},
      {"bsf", {.access = true, .reason = "the destination stays when the source is zero"}},
      {"bsr", {.access = true, .reason = "the destination stays when the source is zero"}},
      {"lar", {.access = true, .reason = "the destination stays when the selector is unusable"}},
      {"lsl", {.size = true, .reason = "the selector's register is named as wide as the destination"}},
      {"clflush", {.size = true, .access = true, .reason = "one byte names the line"}},
      {"clflushopt", {.size = true, .access = true, .reason = "one byte names the line"}},
      {"clwb", {.size = true, .access = true, .reason = "one byte names the line"}},
      {"invlpg", {.size = true, .access = true, .reason = "an address, not an access"}},
      {"lea", {.size = true, .access = true, .reason = "an address, not an access"}},
      {"movsxd", {.size = true, .reason = "SDM: r16, r/m16"}},
      {"movmskps", {.size = true, .reason = "32 bits written clear the rest"}},
      {"movmskpd", {.size = true, .reason = "32 bits written clear the rest"}},
      {"pmovmskb", {.size = true, .reason = "32 bits written clear the rest"}},
      {"pextrw", {.size = true, .reason = "32 bits written clear the rest"}},
      {"ud0", {.size = true, .reason = "never read"}},
      {"ud1", {.size = true, .reason = "never read"}},
  };
  auto const mnemonic = ref.mnemonic();
  auto const found = list.find(mnemonic);
  auto result = found == list.end() ? Disagreement{} : found->second;
  auto const operation = insn.operation;
  auto const text = name(operation);
  if (row_of(insn).has(Attribute::repeatable)) result.count = true;  // string operands are listed here
  if (operation == Operation::cmovcc || text.starts_with("fcmov"))
    result.access = true;                                  // keeps the destination
  if (text.starts_with("prefetch")) result.access = true;  // no access
  if (text.starts_with("xsave") || text.starts_with("xrstor") || text.starts_with("fx")) {
    result.size = true;  // depends on state
    result.access = true;
  }
  return result;
}

std::string hex(std::span<u8 const> bytes) {
  auto text = std::string{};
  for (auto const byte : bytes) text += fmt::format("{:02x} ", byte);
  return text;
}

std::string register_text(ZydisRegister reg) {
  return reg == ZYDIS_REGISTER_NONE ? "none" : ZydisRegisterGetString(reg);
}

constexpr std::array<std::string_view, 6> segment_names{"es", "cs", "ss", "ds", "fs", "gs"};

std::string gpr_name(u8 reg, u8 size) {
  static constexpr std::array<std::string_view, 16> low{"al",   "cl",   "dl",   "bl",  "spl",  "bpl",
                                                        "sil",  "dil",  "r8b",  "r9b", "r10b", "r11b",
                                                        "r12b", "r13b", "r14b", "r15b"};
  static constexpr std::array<std::string_view, 8> word{"ax", "cx", "dx", "bx", "sp", "bp", "si", "di"};
  if (reg == no_register) return "none";
  if (size == 1) return std::string{low[reg]};
  if (reg >= 8) return fmt::format("r{}{}", reg, size == 8 ? "" : size == 4 ? "d" : "w");
  return fmt::format("{}{}", size == 8 ? "r" : size == 4 ? "e" : "", word[reg]);
}

/// Both sides in one form: what, with size and access where they are comparable.
struct OperandText {
  std::string what{}, size{}, access{};
};

std::string access_text(bool read, bool written) {
  return fmt::format("{}{}", read ? "r" : "", written ? "w" : "");
}

OperandText text_of(ZydisDecodedOperand const& operand, u8 address_size, u64 immediate_mask) {
  auto text = OperandText{.access = access_text(operand.actions & ZYDIS_OPERAND_ACTION_MASK_READ,
                                                operand.actions & ZYDIS_OPERAND_ACTION_MASK_WRITE)};
  switch (operand.type) {
    case ZYDIS_OPERAND_TYPE_REGISTER: {
      text.what = register_text(operand.reg.value);
      auto const kind = ZydisRegisterGetClass(operand.reg.value);
      // Zydis counts the bytes used of a vector register, and calls what merges written only.
      if (kind == ZYDIS_REGCLASS_XMM || kind == ZYDIS_REGCLASS_YMM)
        text.access.clear();
      else if (kind != ZYDIS_REGCLASS_MMX && kind != ZYDIS_REGCLASS_SEGMENT)
        text.size = fmt::format("{}", operand.size / 8);
      break;
    }
    case ZYDIS_OPERAND_TYPE_MEMORY: {
      auto displacement = static_cast<u64>(operand.mem.disp.has_displacement ? operand.mem.disp.value : 0);
      if (address_size < 8) displacement &= (u64{1} << (8 * address_size)) - 1;
      text.what = fmt::format("{}:{}+{}*{}+{:#x}", register_text(operand.mem.segment),
                              register_text(operand.mem.base), register_text(operand.mem.index),
                              operand.mem.index == ZYDIS_REGISTER_NONE ? 1 : operand.mem.scale, displacement);
      text.size = fmt::format("{}", operand.size / 8);
      break;
    }
    case ZYDIS_OPERAND_TYPE_POINTER:
      text.what = fmt::format("{:#x}:{:#x}", operand.ptr.segment, operand.ptr.offset);
      break;
    case ZYDIS_OPERAND_TYPE_IMMEDIATE: {
      text.what = fmt::format("{:#x}", operand.imm.value.u & immediate_mask);
      break;
    }
    default: text.what = "?";
  }
  return text;
}

/// Zydis 4.0 names r13d as the base where SIB says that there is none, with 67 in 64-bit mode.
bool zydis_invents_r13(Instruction const& insn, std::span<u8 const> bytes) {
  return insn.code_size == CodeSize::bits64 && insn.address_size == 4 && insn.modrm >> 6 == 0 &&
         (insn.modrm & 7) == 4 && (bytes[insn.modrm_offset + 1uz] & 7) == 5;
}

std::string memory_text(Instruction const& insn, Source source) {
  auto const& memory = insn.memory;
  auto const size = insn.address_size;
  if (source == Source::string_destination) return "es:" + gpr_name(rdi, size) + "+none*1+0x0";
  auto const wide = insn.prefixes.vex_length == 1;
  auto const narrow_index = insn.operation == Operation::vgatherdpd || insn.operation == Operation::vpgatherdq;
  auto const index = memory.vector_index != no_register
                         ? fmt::format("{}mm{}", wide && !narrow_index ? 'y' : 'x', memory.vector_index)
                         : gpr_name(memory.index, size);
  auto const base = memory.rip_relative ? (size == 8 ? "rip" : "eip") : gpr_name(memory.base, size);
  auto displacement = static_cast<u64>(memory.displacement);
  if (size < 8) displacement &= (u64{1} << (8 * size)) - 1;
  return fmt::format("{}:{}+{}*{}+{:#x}", segment_names[static_cast<u8>(memory.segment)], base, index,
                     memory.scale, displacement);
}

OperandText text_of(Instruction const& insn, Operand const& operand, OperandSpec const& spec,
                    u64 immediate_mask) {
  auto text = OperandText{.access = access_text(operand.read, operand.written)};
  switch (operand.kind) {
    case OperandKind::none: text.what = "none"; break;
    case OperandKind::gpr:
      text.what =
          operand.high ? std::string(1, "acdb"[operand.reg]) + "h" : gpr_name(operand.reg, operand.size);
      text.size = fmt::format("{}", operand.size);
      break;
    case OperandKind::memory:
      text.what = memory_text(insn, spec.source);
      text.size = fmt::format("{}", operand.size);
      break;
    case OperandKind::immediate: text.what = fmt::format("{:#x}", insn.immediate & immediate_mask); break;
    case OperandKind::immediate2: text.what = fmt::format("{:#x}", insn.immediate2); break;
    case OperandKind::relative: text.what = fmt::format("{:#x}", insn.immediate & immediate_mask); break;
    case OperandKind::far_pointer:
      text.what = fmt::format("{:#x}:{:#x}", insn.immediate2, insn.immediate);
      break;
    case OperandKind::segment: text.what = segment_names[operand.reg]; break;
    case OperandKind::control:
      text = {.what = fmt::format("cr{}", operand.reg),
              .size = fmt::format("{}", operand.size),
              .access = text.access};
      break;
    case OperandKind::debug:
      text = {.what = fmt::format("dr{}", operand.reg),
              .size = fmt::format("{}", operand.size),
              .access = text.access};
      break;
    case OperandKind::x87:
      text = {.what = fmt::format("st{}", operand.reg), .size = "10", .access = text.access};
      break;
    case OperandKind::mmx: text.what = fmt::format("mm{}", operand.reg); break;
    case OperandKind::vector:
      text = {.what = fmt::format("{}mm{}", operand.size == 32 ? 'y' : 'x', operand.reg)};
      break;
  }
  return text;
}

std::string mnemonic_of(Instruction const& insn) {
  auto text = disassemble(insn);
  for (auto const* prefix : {"lock ", "repne ", "rep "})
    if (text.starts_with(prefix)) text.erase(0, std::string_view{prefix}.size());
  text = text.substr(0, text.find(' '));
  return text == "retf" ? "ret" : text;
}

/// What differs from Zydis; empty when nothing but the disagreements above does.
std::string difference(std::span<u8 const> bytes, CodeSize code_size) {
  auto const ref = reference(bytes, code_size);
  auto insn = Instruction{};
  auto const ours = decode(bytes, code_size, true, insn) == DecodeStatus::ok;
  auto const accepted = disagreement(ref, insn);
  auto const mnemonic = mnemonic_of(insn);
  if (ref.valid() && not_offered(ref)) return ours ? "decoded what is not offered: " + ref.isa() : "";
  if (ours != ref.valid())
    return accepted.validity ? ""
                             : fmt::format("validity: {} ({}), here {}", ref.mnemonic(), ref.isa(), mnemonic);
  if (!ours) return "";
  if (insn.length != ref.insn.length)
    return fmt::format("length of {}: {}, here {}", mnemonic, ref.insn.length, insn.length);
  if (mnemonic != ref.mnemonic() && !accepted.name)
    return fmt::format("mnemonic: {}, here {}", ref.mnemonic(), mnemonic);
  if (insn.operand_count != ref.insn.operand_count_visible && !accepted.count)
    return fmt::format("operands of {}: {}, here {}", mnemonic, ref.insn.operand_count_visible,
                       insn.operand_count);
  if (insn.operand_count != ref.insn.operand_count_visible || zydis_invents_r13(insn, bytes)) return "";
  for (auto i = 0uz; i < insn.operand_count; ++i) {
    auto const bits = std::min<unsigned>(ref.operands[i].size, insn.operands[i].size * 8u);
    auto const mask =
        insn.operands[i].kind == OperandKind::relative || bits >= 64 ? ~u64{0} : (u64{1} << bits) - 1;
    auto const here = text_of(insn, insn.operands[i], row_of(insn).operands[i], mask);
    auto const there = text_of(ref.operands[i], insn.address_size, mask);
    if (here.what != there.what && !accepted.size)
      return fmt::format("operand {} of {}: {}, here {}", i, mnemonic, there.what, here.what);
    if (here.size != there.size && !accepted.size)
      return fmt::format("size {} of {}: {}, here {}", i, mnemonic, there.size, here.size);
    if (here.access != there.access && !accepted.access)
      return fmt::format("access {} of {}: {}, here {}", i, mnemonic, there.access, here.access);
  }
  return "";
}

/// One example of each difference, for the failure message.
class Differences {
 public:
  void check(std::span<u8 const> bytes, CodeSize code_size) {
    auto const text = difference(bytes, code_size);
    if (!text.empty())
      examples_.try_emplace(text.substr(0, text.find(':')),
                            fmt::format("mode {}: {}{}", static_cast<int>(code_size), hex(bytes), text));
  }
  std::string report() const {
    auto text = std::string{};
    for (auto const& [key, example] : examples_) text += example + "\n";
    return text;
  }

 private:
  std::map<std::string, std::string> examples_;
};

constexpr std::array code_sizes{CodeSize::bits16, CodeSize::bits32, CodeSize::bits64};

bool has_mode(Row const& row, CodeSize code_size) { return row.modes & (1 << static_cast<int>(code_size)); }

TEST(Decoder, AgreesWithZydisOnEveryRow) {
  auto sampler = Sampler{1};
  auto differences = Differences{};
  for (auto const code_size : code_sizes)
    for (auto const& row : table())
      for (auto i = 0; i < 60 && has_mode(row, code_size); ++i)
        differences.check(sampler.sample(row, code_size), code_size);
  EXPECT_EQ(differences.report(), "");
}

TEST(Decoder, AgreesWithZydisOnRandomBytes) {
  auto sampler = Sampler{2};
  auto differences = Differences{};
  for (auto const code_size : code_sizes)
    for (auto i = 0; i < 100'000; ++i) differences.check(sampler.noise(code_size), code_size);
  EXPECT_EQ(differences.report(), "");
}

TEST(Table, HasNoRowHiddenByAnother) {
  auto sampler = Sampler{3};
  auto reached = std::vector<bool>(table().size());
  for (auto const code_size : code_sizes) {
    for (auto const& row : table()) {
      for (auto i = 0; i < 200; ++i) {
        auto insn = Instruction{};
        if (decode(sampler.sample(row, code_size), code_size, true, insn) == DecodeStatus::ok)
          reached[insn.row] = true;
      }
    }
  }
  auto hidden = std::string{};
  for (auto i = 0uz; i < reached.size(); ++i)
    if (!reached[i]) hidden += fmt::format("{}: {} {:02x}\n", i, name(table()[i].operation), table()[i].opcode);
  EXPECT_EQ(hidden, "");
}

TEST(Table, AgreesAboutModrmWithinAnOpcode) {
  auto disagreeing = std::string{};
  for (auto const& row : table())
    for (auto const other : candidates(opcode_index[opcode_key(row.encoding, row.map, row.opcode)]))
      if (table()[other.row].has_modrm != row.has_modrm ||
          (table()[other.row].mod == Mod::ignored) != (row.mod == Mod::ignored))
        disagreeing += fmt::format("{} {:02x}\n", name(row.operation), row.opcode);
  EXPECT_EQ(disagreeing, "");
}

TEST(Decoder, AsksForMoreBytesWhenAnyIsMissing) {
  auto sampler = Sampler{4};
  auto wrong = 0;
  for (auto const& row : table()) {
    auto const bytes = sampler.sample(row, CodeSize::bits64);
    auto whole = Instruction{};
    if (decode(bytes, CodeSize::bits64, true, whole) != DecodeStatus::ok) continue;
    for (auto length = 0uz; length < whole.length; ++length) {
      auto part = Instruction{};
      wrong += decode(std::span{bytes}.first(length), CodeSize::bits64, true, part) != DecodeStatus::truncated;
    }
  }
  EXPECT_EQ(wrong, 0);
}

DecodeStatus status64(std::initializer_list<u8> bytes, Instruction& insn) {
  return decode(std::span{bytes.begin(), bytes.size()}, CodeSize::bits64, true, insn);
}

TEST(Decoder, RefusesMoreThanFifteenBytes) {
  auto insn = Instruction{};
  auto bytes = std::array<u8, 16>{};
  bytes.fill(0x66);
  bytes[14] = 0x90;
  EXPECT_EQ(decode(bytes, CodeSize::bits64, true, insn), DecodeStatus::ok);
  bytes[14] = 0x66;
  EXPECT_EQ(decode(bytes, CodeSize::bits64, true, insn), DecodeStatus::too_long);
}

TEST(Decoder, ReadsAllBytesBeforeItRefusesTheLockPrefix) {
  auto insn = Instruction{};
  EXPECT_EQ(status64({0xf0, 0x81, 0xc0, 1, 2, 3}, insn), DecodeStatus::truncated);
  EXPECT_EQ(status64({0xf0, 0x81, 0xc0, 1, 2, 3, 4}, insn), DecodeStatus::invalid);
}

TEST(Decoder, ForgetsRexBeforeAnotherPrefix) {
  auto insn = Instruction{};
  ASSERT_EQ(status64({0x48, 0x66, 0x89, 0xc8}, insn), DecodeStatus::ok);
  EXPECT_EQ(insn.prefixes.rex, 0);
  EXPECT_EQ(insn.operand_size, 2);
}

TEST(Decoder, KeepsNearBranchesAt64BitsWhateverThePrefix) {
  auto insn = Instruction{};
  ASSERT_EQ(status64({0x66, 0xe8, 1, 2, 3, 4}, insn), DecodeStatus::ok);
  EXPECT_EQ(insn.length, 6);
  EXPECT_EQ(insn.operand_size, 8);
}

TEST(Decoder, TakesVexForLesOutsideProtectedMode) {
  auto insn = Instruction{};
  auto const bytes = std::array<u8, 4>{0xc5, 0xf8, 0x77, 0x90};
  EXPECT_EQ(decode(bytes, CodeSize::bits16, false, insn), DecodeStatus::invalid);
  EXPECT_EQ(decode(bytes, CodeSize::bits16, true, insn), DecodeStatus::ok);
  EXPECT_EQ(insn.operation, Operation::vzeroupper);
}

TEST(Decoder, DropsVexBitsThatOnly64BitModeHas) {
  auto insn = Instruction{};
  auto const bytes =
      std::array<u8, 5>{0xc4, 0xe1, 0x87, 0x2a, 0x31};  // W1, vvvv 1111: vcvtsi2sd xmm6, xmm15, [ecx]
  ASSERT_EQ(decode(bytes, CodeSize::bits32, true, insn), DecodeStatus::ok);
  EXPECT_FALSE(insn.prefixes.vex_w);
  EXPECT_EQ(insn.operands[1].reg, insn.prefixes.vex_vvvv);
  EXPECT_EQ(insn.operands[2].size, 4);
}

TEST(Disassembler, WritesIntelSyntax) {
  auto insn = Instruction{};
  ASSERT_EQ(status64({0xf0, 0x48, 0x01, 0x44, 0x8b, 0xf8}, insn), DecodeStatus::ok);
  EXPECT_EQ(disassemble(insn), "lock add qword ptr [rbx+rcx*4-0x8], rax");
}

}  // namespace
}  // namespace vireo::x86
