#include <fmt/format.h>

#include "x86/table.h"

namespace vireo::x86 {
namespace {

constexpr std::array<std::string_view, 16> low_bytes{"al",   "cl",   "dl",   "bl",  "spl",  "bpl",
                                                     "sil",  "dil",  "r8b",  "r9b", "r10b", "r11b",
                                                     "r12b", "r13b", "r14b", "r15b"};
constexpr std::array<std::string_view, 4> high_bytes{"ah", "ch", "dh", "bh"};
constexpr std::array<std::string_view, 8> words{"ax", "cx", "dx", "bx", "sp", "bp", "si", "di"};
constexpr std::array<std::string_view, 8> segments{"es", "cs", "ss", "ds", "fs", "gs", "seg6", "seg7"};
constexpr std::array<std::string_view, 16> conditions{"o", "no", "b", "nb", "z", "nz", "be", "nbe",
                                                      "s", "ns", "p", "np", "l", "nl", "le", "nle"};

std::string gpr_name(u8 reg, u8 size) {
  if (size == 1) return std::string{low_bytes[reg & 15]};
  if (reg >= 8) return fmt::format("r{}{}", reg, size == 8 ? "" : size == 4 ? "d" : "w");
  return fmt::format("{}{}", size == 8 ? "r" : size == 4 ? "e" : "", words[reg]);
}

std::string_view pointer(u8 size) {
  switch (size) {
    case 1: return "byte ptr ";
    case 2: return "word ptr ";
    case 4: return "dword ptr ";
    case 6: return "fword ptr ";
    case 8: return "qword ptr ";
    case 10: return "tbyte ptr ";
    case 16: return "xmmword ptr ";
    case 32: return "ymmword ptr ";
    default: return "";
  }
}

std::string memory_text(Instruction const& insn, u8 size, u64 address) {
  auto const& memory = insn.memory;
  auto text = std::string{pointer(size)};
  if (insn.prefixes.has_segment) text += fmt::format("{}:", segments[static_cast<u8>(memory.segment)]);
  text += '[';
  auto const start = text.size();
  auto const plus = [&](std::string const& term) { text += text.size() == start ? term : "+" + term; };
  if (memory.rip_relative) {
    return text + fmt::format("{:#x}]", address + insn.length + static_cast<u64>(memory.displacement));
  }
  if (memory.base != no_register) plus(gpr_name(memory.base, insn.address_size));
  if (memory.index != no_register)
    plus(fmt::format("{}*{}", gpr_name(memory.index, insn.address_size), memory.scale));
  if (memory.vector_index != no_register) plus(fmt::format("v{}*{}", memory.vector_index, memory.scale));
  auto const displacement = memory.displacement;
  if (text.size() == start) return text + fmt::format("{:#x}]", static_cast<u64>(displacement));
  if (displacement != 0) {
    text += displacement < 0 ? fmt::format("-{:#x}", u64{0} - static_cast<u64>(displacement))
                             : fmt::format("+{:#x}", static_cast<u64>(displacement));
  }
  return text + "]";
}

std::string operand_text(Instruction const& insn, Operand const& operand, u64 address) {
  switch (operand.kind) {
    case OperandKind::none: return {};
    case OperandKind::gpr:
      return operand.high ? std::string{high_bytes[operand.reg & 3]} : gpr_name(operand.reg, operand.size);
    case OperandKind::memory: return memory_text(insn, operand.size, address);
    case OperandKind::immediate: return fmt::format("{:#x}", insn.immediate);
    case OperandKind::immediate2: return fmt::format("{:#x}", insn.immediate2);
    case OperandKind::relative: return fmt::format("{:#x}", address + insn.length + insn.immediate);
    case OperandKind::far_pointer: return fmt::format("{:#x}:{:#x}", insn.immediate2, insn.immediate);
    case OperandKind::segment: return std::string{segments[operand.reg & 7]};
    case OperandKind::control: return fmt::format("cr{}", operand.reg);
    case OperandKind::debug: return fmt::format("dr{}", operand.reg);
    case OperandKind::x87: return fmt::format("st({})", operand.reg);
    case OperandKind::mmx: return fmt::format("mm{}", operand.reg);
    case OperandKind::vector: return fmt::format("{}mm{}", operand.size == 32 ? 'y' : 'x', operand.reg);
  }
  return {};
}

/// The SDM's letter for a size: movsb, pushfq.
std::string_view suffix(u8 size) { return size == 1 ? "b" : size == 2 ? "w" : size == 4 ? "d" : "q"; }

std::string mnemonic(Instruction const& insn) {
  auto const condition = conditions[insn.opcode & 15];
  auto const text = name(insn.operation);
  switch (insn.operation) {
    case Operation::movs:
    case Operation::cmps:
    case Operation::stos:
    case Operation::lods:
    case Operation::scas:
    case Operation::ins: return fmt::format("{}{}", text, suffix(insn.operands[0].size));
    case Operation::outs: return fmt::format("{}{}", text, suffix(insn.operands[1].size));
    case Operation::pusha:
    case Operation::popa:
    case Operation::pushf:
    case Operation::popf:
    case Operation::iret:
      return fmt::format("{}{}", text, insn.operand_size == 2 ? "" : suffix(insn.operand_size));
    case Operation::jcxz: return insn.address_size == 2 ? "jcxz" : insn.address_size == 4 ? "jecxz" : "jrcxz";
    case Operation::fxsave:
    case Operation::fxrstor:
    case Operation::xsave:
    case Operation::xsavec:
    case Operation::xsaveopt:
    case Operation::xsaves:
    case Operation::xrstor:
    case Operation::xrstors: return fmt::format("{}{}", text, insn.operand_size == 8 ? "64" : "");
    case Operation::jcc: return fmt::format("j{}", condition);
    case Operation::setcc: return fmt::format("set{}", condition);
    case Operation::cmovcc: return fmt::format("cmov{}", condition);
    case Operation::jmp_near:
    case Operation::jmp_far: return "jmp";
    case Operation::call_near:
    case Operation::call_far: return "call";
    case Operation::ret_near: return "ret";
    case Operation::ret_far: return "retf";
    case Operation::push_segment: return "push";
    case Operation::pop_segment: return "pop";
    case Operation::mov_to_segment:
    case Operation::mov_from_segment:
    case Operation::mov_to_control:
    case Operation::mov_from_control:
    case Operation::mov_to_debug:
    case Operation::mov_from_debug: return "mov";
    default: break;
  }
  auto const avx = row_of(insn).file == RegisterFile::avx && !text.starts_with('v');
  return (avx ? "v" : "") + std::string{text};
}

}  // namespace

std::string disassemble(Instruction const& insn, u64 address) {
  if (insn.operation == Operation::invalid) return "(invalid)";
  auto text = std::string{};
  if (insn.prefixes.lock) text += "lock ";
  if (row_of(insn).has(Attribute::repeatable))
    text += insn.prefixes.rep ? "rep " : insn.prefixes.repne ? "repne " : "";
  text += mnemonic(insn);
  for (auto i = 0uz; i < insn.operand_count; ++i) {
    text += i == 0 ? " " : ", ";
    text += operand_text(insn, insn.operands[i], address);
  }
  return text;
}

}  // namespace vireo::x86
