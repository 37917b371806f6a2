#include "engine/soft/translate/region.h"

#include <bit>

#include "engine/soft/translate/context.h"
#include "x86/decoder.h"
#include "x86/table.h"

namespace vireo::engine::soft::translate {
namespace {

using x86::Instruction;
using x86::Operand;
using x86::OperandKind;
using x86::Operation;

constexpr u16 bit(u8 reg) { return static_cast<u16>(1u << reg); }
constexpr u32 free_registers_wanted{0};

/// Registers that an instruction uses without naming them as operands.
u16 implied_registers(Operation operation) {
  using enum Operation;
  switch (operation) {
    case mul:
    case imul:
    case div:
    case idiv:
    case cwd:
    case cdq:
    case cqo: return bit(x86::rax) | bit(x86::rdx);
    case cbw:
    case cwde:
    case cdqe:
    case lahf:
    case sahf:
    case cmpxchg:
    case fnstsw: return bit(x86::rax);
    case mulx: return bit(x86::rdx);
    case cmpxchg8b:
    case cmpxchg16b: return bit(x86::rax) | bit(x86::rdx) | bit(x86::rcx) | bit(x86::rbx);
    case pcmpestri:
    case pcmpestrm: return bit(x86::rax) | bit(x86::rdx) | bit(x86::rcx);
    case pcmpistri:
    case pcmpistrm: return bit(x86::rcx);
    case push:
    case pop:
    case call_near:
    case ret_near: return bit(x86::rsp);
    case leave: return bit(x86::rsp) | bit(x86::rbp);
    case movs:
    case cmps: return bit(x86::rsi) | bit(x86::rdi);
    case stos:
    case scas: return bit(x86::rax) | bit(x86::rdi);
    case lods: return bit(x86::rax) | bit(x86::rsi);
    case xlat: return bit(x86::rax) | bit(x86::rbx);
    case jcxz:
    case loop:
    case loope:
    case loopne: return bit(x86::rcx);
    case pushf: return bit(x86::rsp);
    case rdtsc: return bit(x86::rax) | bit(x86::rdx);
    case rdtscp: return bit(x86::rax) | bit(x86::rdx) | bit(x86::rcx);
    default: return 0;
  }
}

/// Integer and vector instructions that the interpreter keeps.
bool left_to_interpreter(Operation operation) {
  using enum Operation;
  switch (operation) {
    case pusha:
    case popa:
    case pushf:
    case popf:
    case enter:
    case movs:
    case cmps:
    case stos:
    case lods:
    case scas:
    case cld:
    case std:
    case cli:
    case sti:
    case daa:
    case das:
    case aaa:
    case aas:
    case aam:
    case aad:
    case bound:
    case into:
    case jcxz:
    case loop:
    case loope:
    case loopne:
    case ud0:
    case ud1:
    case ud2:
    case clflush:
    case clflushopt:
    case clwb:
    case maskmovq:
    case maskmovdqu:
    case vmaskmovps:
    case vmaskmovpd:
    case vpmaskmovd:
    case vpmaskmovq:
    case fxsave:
    case fxrstor:
    case xsave:
    case xsavec:
    case xsaveopt:
    case xsaves:
    case xrstor:
    case xrstors:
    case fldcw:
    case fldenv:
    case fnstenv:
    case fnsave:
    case frstor: return true;
    default: return false;
  }
}

bool is_bit_test(Operation operation) {
  using enum Operation;
  return operation == bt || operation == bts || operation == btr || operation == btc;
}
bool is_prefetch(Operation operation) {
  using enum Operation;
  return operation == nop || operation == prefetch || operation == prefetchw || operation == prefetchnta ||
         operation == prefetcht0 || operation == prefetcht1 || operation == prefetcht2;
}

bool touches_vectors(x86::Row const& row) { return row.family == x86::Family::vector; }

bool enabled(x86::Row const& row, Instruction const& insn, CodeMode const& mode) {
  switch (row.file) {
    case x86::RegisterFile::general: break;
    case x86::RegisterFile::x87:
    case x86::RegisterFile::mmx: return mode.x87;
    case x86::RegisterFile::sse:
      for (auto const& operand : insn.operands) {
        if (operand.kind == OperandKind::mmx && !mode.x87) return false;
      }
      return mode.sse;
    case x86::RegisterFile::avx: return mode.avx;
  }
  if (row.family == x86::Family::vector) return insn.prefixes.vex ? mode.avx : mode.sse && mode.x87;
  return !insn.prefixes.vex || mode.avx || row.family == x86::Family::integer;
}

bool operands_supported(Item& item) {
  auto const& insn = item.insn;
  for (auto i = u8{}; i < insn.operand_count; ++i) {
    auto const& operand = insn.operands[i];
    switch (operand.kind) {
      case OperandKind::memory: item.memory_operand = i; break;
      case OperandKind::segment:
      case OperandKind::control:
      case OperandKind::debug:
      case OperandKind::far_pointer: return false;
      default: break;
    }
  }
  if (item.memory_operand == 0xff) return true;
  auto const& memory = insn.memory;
  auto const size = insn.operands[item.memory_operand].size;
  return memory.vector_index == x86::no_register && size != 0 && size <= 32;
}

Kind classify_integer(Item& item) {
  using enum Operation;
  auto const& insn = item.insn;
  switch (insn.operation) {
    case lea: return insn.operand_size >= 4 ? Kind::load_address : Kind::interpret;
    case push: return insn.stack_size == 8 ? Kind::push : Kind::interpret;
    case pop: return insn.stack_size == 8 ? Kind::pop : Kind::interpret;
    case leave: return insn.stack_size == 8 ? Kind::leave : Kind::interpret;
    case jcc: return insn.operand_size == 8 ? Kind::branch : Kind::interpret;
    case jmp_near:
      if (insn.operand_size != 8) return Kind::interpret;
      return insn.operands[0].kind == OperandKind::relative ? Kind::jump : Kind::indirect_jump;
    case call_near:
      if (insn.operand_size != 8) return Kind::interpret;
      return insn.operands[0].kind == OperandKind::relative ? Kind::call : Kind::indirect_call;
    case ret_near: return insn.operand_size == 8 ? Kind::ret : Kind::interpret;
    default: return Kind::native;
  }
}

/// System instructions that are quick enough without the interpreter.
Kind classify_system(Item const& item, CodeMode const& mode, Features const& features) {
  using enum Operation;
  auto const& insn = item.insn;
  if (insn.operation == cld) return Kind::system;
  if (!mode.code64() || !features.offered(insn)) return Kind::interpret;
  switch (insn.operation) {
    case lfence: return Kind::system;
    case mov_from_control: return mode.supervisor && insn.operands[1].reg <= 4 ? Kind::system : Kind::interpret;
    case stac:
    case clac:
    case cli:
    case sti:
    case swapgs: return mode.supervisor ? Kind::system : Kind::interpret;
    case rdtsc:
    case rdtscp: return mode.tsc || mode.supervisor ? Kind::system : Kind::interpret;
    case pushf: return insn.stack_size == 8 ? Kind::system : Kind::interpret;
    case mov_from_segment: return insn.operands[0].kind == OperandKind::gpr ? Kind::system : Kind::interpret;
    case syscall: return Kind::system_call;
    case sysret:
    case iret: return mode.supervisor && insn.operand_size == 8 ? Kind::system_call : Kind::interpret;
    default: return Kind::interpret;
  }
}

void note_registers(Item& item) {
  auto const& insn = item.insn;
  auto used = implied_registers(insn.operation);
  if (is_repeated(insn)) used |= bit(x86::rcx);
  auto written = used;
  for (auto i = 0u; i < insn.operand_count; ++i) {
    auto const& operand = insn.operands[i];
    if (operand.kind != OperandKind::gpr) continue;
    used |= bit(operand.reg);
    if (operand.written) written |= bit(operand.reg);
  }
  if (insn.memory.base != x86::no_register) used |= bit(insn.memory.base);
  if (insn.memory.index != x86::no_register) used |= bit(insn.memory.index);
  item.registers = used;
  item.written = written;
}

bool ends_region(Kind kind) {
  switch (kind) {
    case Kind::jump:
    case Kind::call:
    case Kind::indirect_jump:
    case Kind::indirect_call:
    case Kind::ret:
    case Kind::system_call:
    case Kind::interpret: return true;
    default: return false;
  }
}

constexpr u16 kept_registers{0xf1ef};  // all but rsp, r9, r10, r11
constexpr u16 lent_registers{0x0e00};  // r9, r10, r11

bool enough_registers(u16 used) {
  auto const wanted = std::popcount(static_cast<u16>(used & lent_registers));
  auto const available = std::popcount(static_cast<u16>(~used & kept_registers));
  return wanted + static_cast<int>(free_registers_wanted) <= available;
}

}  // namespace

Kind classify(Item& item, CodeMode const& mode, Features const& features) {
  auto const& insn = item.insn;
  auto const& row = x86::row_of(insn);
  if (is_prefetch(insn.operation)) return Kind::nothing;
  if (auto const kind = classify_system(item, mode, features); kind != Kind::interpret) return kind;
  if (auto const kind = classify_implicit(insn, mode); kind != Kind::interpret) return kind;
  if (row.family != x86::Family::integer && row.family != x86::Family::vector) return Kind::interpret;
  if (left_to_interpreter(insn.operation) || !features.offered(insn)) return Kind::interpret;
  if (row.has(x86::Attribute::privileged) || row.has(x86::Attribute::io_privileged)) return Kind::interpret;
  if (insn.operation == Operation::lea)
    return mode.code64() ? classify_integer(item) : classify_legacy(item, mode);
  if (!operands_supported(item)) return Kind::interpret;
  if (is_bit_test(insn.operation) && item.memory_operand == 0 && insn.operands[1].kind == OperandKind::gpr) {
    return Kind::interpret;
  }
  item.vector = touches_vectors(row);
  if (!enabled(row, insn, mode)) return Kind::interpret;
  item.may_trap = item.vector || insn.operation == Operation::div || insn.operation == Operation::idiv ||
                  insn.operation == Operation::cmpxchg16b;
  if (row.family != x86::Family::integer) return Kind::native;
  return mode.code64() ? classify_integer(item) : classify_legacy(item, mode);
}

void analyse(GuestCode const& guest, CodeMode const& mode, Features const& features, Region& region,
             u32 max_items) {
  auto const code = guest.bytes.subspan(guest.begin);
  region.count = 0;
  region.length = 0;
  region.registers = 0;
  region.vectors = region.loops = region.crosses_page = false;
  region.goes_on = true;
  auto branches = 0u;
  while (region.count < max_items && region.length < code.size() && branches < Region::max_branches) {
    auto& item = region.items[region.count];
    item = {};
    auto const left = code.subspan(region.length, std::min<std::size_t>(code.size() - region.length, 15));
    auto const status = x86::decode(left, mode.code_size, mode.protected_mode, item.insn);
    if (status == x86::DecodeStatus::truncated) {
      region.crosses_page = true;
      break;
    }
    item.offset = region.length;
    item.decoded = status == x86::DecodeStatus::ok;
    item.kind = item.decoded ? classify(item, mode, features) : Kind::interpret;
    if (item.kind == Kind::interpret) {
      item.vector = item.may_trap = false;
    } else {
      note_registers(item);
      if (!enough_registers(region.registers | item.registers)) break;
      region.registers |= item.registers;
    }
    ++region.count;
    region.length = static_cast<u16>(region.length + std::max<u8>(item.insn.length, 1));
    region.vectors |= item.vector;
    if (item.kind == Kind::branch || item.kind == Kind::loop) ++branches;
    if (item.kind == Kind::branch || item.kind == Kind::jump) {
      auto const back = static_cast<i64>(item.insn.immediate) + region.length;
      region.loops |= item.insn.operand_size == 2 ? static_cast<u16>(back) == 0 : back == 0;
    }
    if (ends_region(item.kind)) {
      region.goes_on = false;
      break;
    }
  }
  // The instruction behind STI must run before anybody looks for interrupts.
  if (region.count != 0 && region.goes_on && region.items[region.count - 1].insn.operation == Operation::sti) {
    region.items[region.count - 1].kind = Kind::interpret;
    region.goes_on = false;
  }
  find_flag_needs(guest, mode, features, region);
  region.group_count = 0;
  region.comes_back = false;
  region.taken = 0;
}

}  // namespace vireo::engine::soft::translate
