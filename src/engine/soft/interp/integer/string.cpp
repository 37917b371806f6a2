#include <algorithm>
#include <array>
#include <limits>
#include <span>

#include "engine/soft/interp/integer/alu.h"
#include "engine/soft/interp/integer/lowering.h"
#include "engine/soft/interp/integer/operands.h"

namespace vireo::engine::soft {
namespace {

using x86::Instruction;
using x86::Operation;
using x86::SegmentRegister;

u64 truncate(u64 value, u8 address_size) {
  if (address_size == 8) return value;
  return address_size == 4 ? static_cast<u32>(value) : static_cast<u16>(value);
}
u64 index_register(Cpu const& cpu, u8 reg, u8 address_size) {
  return truncate(cpu.state.gpr[reg], address_size);
}
void advance(Cpu& cpu, u8 reg, u8 address_size, u64 by) {
  auto const value = cpu.state.gpr[reg] + by;
  if (address_size == 8)
    cpu.set_gpr<u64>(reg, value);
  else if (address_size == 4)
    cpu.set_gpr<u32>(reg, static_cast<u32>(value));
  else
    cpu.set_gpr<u16>(reg, static_cast<u16>(value));
}

/// One end of a string instruction.
struct Side {
  SegmentRegister segment;
  u8 reg;
};
Side source(Instruction const& insn) { return {insn.memory.segment, x86::rsi}; }
constexpr Side destination{SegmentRegister::es, x86::rdi};

/// With REP and a 32-bit address size, RCX and what MOVS and STOS write through lose their upper halves, even
/// when the count is zero or the first element faults.
void clear_upper_halves(Cpu& cpu, std::span<u8 const> registers) {
  for (auto const reg : registers) cpu.set_gpr<u32>(reg, cpu.gpr<u32>(reg));
}

u64 step_of(Cpu const& cpu, std::size_t size) {
  return cpu.state.rflags & x86::flag_df ? -u64{size} : u64{size};
}

template <typename T>
T load(Cpu& cpu, Instruction const& insn, Side side) {
  return cpu.read<T>(side.segment, index_register(cpu, side.reg, insn.address_size));
}

/// How many elements from here lie in one page and within the segment and the address size: what may run
/// natively.
template <typename T>
u64 contiguous(Cpu const& cpu, Instruction const& insn, Side side) {
  auto const offset = index_register(cpu, side.reg, insn.address_size);
  auto bytes = std::numeric_limits<u64>::max();
  auto linear = offset;
  if (!cpu.code64()) {
    auto const& segment = cpu.state.seg(side.segment);
    auto const expands_down = (segment.attributes & 0x1c) == 0x14;
    if (expands_down || offset > segment.limit) return 0;
    bytes = u64{segment.limit} - offset + 1;
    if (insn.address_size == 2) bytes = std::min(bytes, 0x10000 - offset);
    linear = static_cast<u32>(segment.base + offset);
  } else if (side.segment >= SegmentRegister::fs) {
    linear = cpu.state.seg(side.segment).base + offset;
  }
  bytes = std::min(bytes, page_size - linear % page_size);
  return bytes / sizeof(T);
}
/// The host's address of `bytes` from here when the TLB holds them as plain memory, else null.
std::byte* plain_memory(Cpu& cpu, Instruction const& insn, Side side, u64 bytes, Access access) {
  auto const offset = index_register(cpu, side.reg, insn.address_size);
  auto const linear = cpu.linear(side.segment, offset, 1, access);
  auto const& entry = cpu.mmu.entry(cpu.rights(), linear);
  auto const& write_entry = cpu.mmu.write_entry(cpu.rights(), linear);
  auto const tag = access == Access::write ? write_entry.tag : entry.read;
  if (!in_page(tag, linear, bytes)) {
    return cpu.mmu.refill(linear, static_cast<u32>(bytes), access, cpu.rights());
  }
  // SOUND: the tag says that the page lies in guest memory.
  return reinterpret_cast<std::byte*>(linear +
                                      (access == Access::write ? write_entry.distance : entry.distance));
}
bool runs_natively(Cpu const& cpu) {
  auto const checks_alignment =
      cpu.cpl() == 3 && (cpu.state.rflags & x86::flag_ac) && (cpu.state.cr0 & x86::cr0_am);
  return !(cpu.state.rflags & (x86::flag_df | x86::flag_tf)) && !checks_alignment && !(cpu.state.dr7 & 0xff);
}
void note_code_store(Cpu& cpu, std::byte const* host) {
  // SOUND: compares addresses only.
  auto const distance = reinterpret_cast<u64>(host) - reinterpret_cast<u64>(cpu.code_page_host);
  if (distance < page_size) cpu.code_written = true;
}

// SOUND: `count` elements lie in guest memory at each pointer; the host's REP moves one after the other, so
// overlapping operands give what the guest's REP gives. DF is clear in the host by its ABI.
template <typename T>
void rep_movs(std::byte* to, std::byte const* from, u64 count) {
  if constexpr (sizeof(T) == 1) asm volatile("rep movsb" : "+D"(to), "+S"(from), "+c"(count)::"memory");
  if constexpr (sizeof(T) == 2) asm volatile("rep movsw" : "+D"(to), "+S"(from), "+c"(count)::"memory");
  if constexpr (sizeof(T) == 4) asm volatile("rep movsl" : "+D"(to), "+S"(from), "+c"(count)::"memory");
  if constexpr (sizeof(T) == 8) asm volatile("rep movsq" : "+D"(to), "+S"(from), "+c"(count)::"memory");
}
template <typename T>
void rep_stos(std::byte* to, T value, u64 count) {
  if constexpr (sizeof(T) == 1) asm volatile("rep stosb" : "+D"(to), "+c"(count) : "a"(value) : "memory");
  if constexpr (sizeof(T) == 2) asm volatile("rep stosw" : "+D"(to), "+c"(count) : "a"(value) : "memory");
  if constexpr (sizeof(T) == 4) asm volatile("rep stosl" : "+D"(to), "+c"(count) : "a"(value) : "memory");
  if constexpr (sizeof(T) == 8) asm volatile("rep stosq" : "+D"(to), "+c"(count) : "a"(value) : "memory");
}

// Each group has one(): a single element, registers moved after the last thing that may fault; and many(): up
// to `limit` elements natively, or 0 when that cannot be.
template <typename T>
struct Movs {
  static constexpr bool compares{false};
  static constexpr auto cleared_by_repeat = std::array<u8, 3>{x86::rcx, x86::rsi, x86::rdi};
  static void one(Cpu& cpu, Instruction const& insn) {
    auto const value = load<T>(cpu, insn, source(insn));
    cpu.write<T>(destination.segment, index_register(cpu, x86::rdi, insn.address_size), value);
    auto const step = step_of(cpu, sizeof(T));
    advance(cpu, x86::rsi, insn.address_size, step);
    advance(cpu, x86::rdi, insn.address_size, step);
  }
  static u64 many(Cpu& cpu, Instruction const& insn, u64 limit) {
    auto const count =
        std::min({limit, contiguous<T>(cpu, insn, source(insn)), contiguous<T>(cpu, insn, destination)});
    if (count < 2) return 0;
    auto const* const from = plain_memory(cpu, insn, source(insn), count * sizeof(T), Access::read);
    auto* const to = plain_memory(cpu, insn, destination, count * sizeof(T), Access::write);
    if (from == nullptr || to == nullptr) return 0;
    note_code_store(cpu, to);
    rep_movs<T>(to, from, count);
    advance(cpu, x86::rsi, insn.address_size, count * sizeof(T));
    advance(cpu, x86::rdi, insn.address_size, count * sizeof(T));
    return count;
  }
};
template <typename T>
struct Stos {
  static constexpr bool compares{false};
  static constexpr auto cleared_by_repeat = std::array<u8, 2>{x86::rcx, x86::rdi};
  static void one(Cpu& cpu, Instruction const& insn) {
    cpu.write<T>(destination.segment, index_register(cpu, x86::rdi, insn.address_size), cpu.gpr<T>(x86::rax));
    advance(cpu, x86::rdi, insn.address_size, step_of(cpu, sizeof(T)));
  }
  static u64 many(Cpu& cpu, Instruction const& insn, u64 limit) {
    auto const count = std::min(limit, contiguous<T>(cpu, insn, destination));
    if (count < 2) return 0;
    auto* const to = plain_memory(cpu, insn, destination, count * sizeof(T), Access::write);
    if (to == nullptr) return 0;
    note_code_store(cpu, to);
    rep_stos<T>(to, cpu.gpr<T>(x86::rax), count);
    advance(cpu, x86::rdi, insn.address_size, count * sizeof(T));
    return count;
  }
};
template <typename T>
struct Lods {
  static constexpr bool compares{false};
  static constexpr auto cleared_by_repeat = std::array<u8, 1>{x86::rcx};
  static void one(Cpu& cpu, Instruction const& insn) {
    cpu.set_gpr<T>(x86::rax, load<T>(cpu, insn, source(insn)));
    advance(cpu, x86::rsi, insn.address_size, step_of(cpu, sizeof(T)));
  }
  static u64 many(Cpu&, Instruction const&, u64) { return 0; }
};
template <typename T>
struct Cmps {
  static constexpr bool compares{true};
  static constexpr auto cleared_by_repeat = std::array<u8, 1>{x86::rcx};
  static void one(Cpu& cpu, Instruction const& insn) {
    auto const right = load<T>(cpu, insn, destination);  // first, as processors do
    auto const left = load<T>(cpu, insn, source(insn));
    alu::sub<T>(cpu.state.rflags, left, right);
    auto const step = step_of(cpu, sizeof(T));
    advance(cpu, x86::rsi, insn.address_size, step);
    advance(cpu, x86::rdi, insn.address_size, step);
  }
  static u64 many(Cpu&, Instruction const&, u64) { return 0; }
};
template <typename T>
struct Scas {
  static constexpr bool compares{true};
  static constexpr auto cleared_by_repeat = std::array<u8, 1>{x86::rcx};
  static void one(Cpu& cpu, Instruction const& insn) {
    alu::sub<T>(cpu.state.rflags, cpu.gpr<T>(x86::rax), load<T>(cpu, insn, destination));
    advance(cpu, x86::rdi, insn.address_size, step_of(cpu, sizeof(T)));
  }
  static u64 many(Cpu&, Instruction const&, u64) { return 0; }
};

template <typename Group>
void once(Cpu& cpu, Instruction const& insn, void const*) {
  Group::one(cpu, insn);
}

/// REP, REPE, REPNE. A fault, attention or single step leaves the registers at the progress made and RIP at the
/// instruction, which goes on from there.
template <typename Group>
void repeat(Cpu& cpu, Instruction const& insn) {
  constexpr auto polls_every = u32{256};
  constexpr auto most_polls = u32{64};  // then others look what time it is
  auto const size = insn.address_size;
  auto const native = runs_natively(cpu);
  auto until_poll = polls_every;
  auto polls = u32{};
  if (size == 4) clear_upper_halves(cpu, Group::cleared_by_repeat);
  for (auto left = index_register(cpu, x86::rcx, size); left != 0;) {
    auto done = native ? Group::many(cpu, insn, left) : 0;
    auto poll = done != 0;
    if (done == 0) {
      Group::one(cpu, insn);
      done = 1;
      poll = --until_poll == 0;
    }
    left -= done;
    advance(cpu, x86::rcx, size, -done);
    if (left == 0) return;
    if (Group::compares && ((cpu.state.rflags & x86::flag_zf) != 0) == insn.prefixes.repne) return;
    auto const stop = (cpu.state.rflags & x86::flag_tf) || (cpu.state.dr7 & 0xff) ||
                      (poll && (++polls == most_polls || cpu.attention.load(std::memory_order_relaxed) != 0));
    if (stop) {
      cpu.state.rip -= insn.length;
      return;
    }
    if (poll) until_poll = polls_every;
  }
}
template <typename Group>
void repeated(Cpu& cpu, Instruction const& insn, void const*) {
  auto const flags = cpu.state.rflags;
  try {
    repeat<Group>(cpu, insn);
  } catch (Fault const&) {
    cpu.state.rflags = flags;  // as before the instruction: SDM vol. 2, REP
    throw;
  }
}

template <template <typename> typename Group>
Lowered lower_group(Instruction const& insn) {
  auto const size = insn.operands[0].size;
  if (!insn.prefixes.rep && !insn.prefixes.repne) {
    return {.handler = size == 1   ? Handler{once<Group<u8>>}
                       : size == 2 ? Handler{once<Group<u16>>}
                       : size == 4 ? Handler{once<Group<u32>>}
                                   : Handler{once<Group<u64>>}};
  }
  return {.handler = size == 1   ? Handler{repeated<Group<u8>>}
                     : size == 2 ? Handler{repeated<Group<u16>>}
                     : size == 4 ? Handler{repeated<Group<u32>>}
                                 : Handler{repeated<Group<u64>>},
          .ends_block = true};
}

}  // namespace

Lowered lower_string(Instruction const& insn) {
  using O = Operation;
  switch (insn.operation) {
    case O::movs: return lower_group<Movs>(insn);
    case O::stos: return lower_group<Stos>(insn);
    case O::lods: return lower_group<Lods>(insn);
    case O::cmps: return lower_group<Cmps>(insn);
    case O::scas: return lower_group<Scas>(insn);
    default: return {};
  }
}

}  // namespace vireo::engine::soft
