#include <cstddef>

#include "engine/soft/mmu/window.h"
#include "engine/soft/translate/generator.h"

namespace vireo::engine::soft::translate {

using x86::OperandKind;
using x86::SegmentRegister;

namespace {
constexpr i32 last_offset{4096};
/// An operand that base and index registers and a displacement name.
bool is_plain(x86::Instruction const& insn) {
  auto const& memory = insn.memory;
  auto const registers = memory.base != x86::no_register || memory.index != x86::no_register;
  return registers && !memory.rip_relative && insn.address_size == 8 && memory.segment < SegmentRegister::fs &&
         memory.displacement == static_cast<i32>(memory.displacement);
}
}  // namespace

// ---- flags ----

void Generator::lose_flags(u32 needed) {
  auto const wanted = needed == 0 ? Saved::nothing : (needed & ~x86::flag_cf) == 0 ? Saved::carry : Saved::all;
  if (wanted == Saved::nothing) {
    saved_ = Saved::nothing;
  } else if (saved_ < wanted) {
    if (wanted == Saved::carry) {
      out_.setcc(Cond::b, saved_flags);
    } else {
      save_all_flags();
    }
    saved_ = wanted;
  }
  flags_in_register_ = false;
}

// PUSHFQ and POPFQ are slow, and what they store is slow to load.
void Generator::save_all_flags() {
  out_.mov(Width::q, second_scratch, Reg::rax);
  out_.lahf();
  out_.setcc(Cond::o, Reg::rax);
  out_.store(Width::w, saved_flags, Reg::rax);
  out_.mov(Width::q, Reg::rax, second_scratch);
}

void Generator::restore_flags() {
  if (flags_in_register_) return;
  flags_in_register_ = true;
  if (saved_ == Saved::carry) {
    out_.alu_imm(Alu::add, Width::b, saved_flags, -1);
    saved_ = Saved::nothing;
    return;
  }
  out_.mov(Width::q, second_scratch, Reg::rax);
  out_.load_zx(Width::w, Reg::rax, saved_flags);
  out_.alu_imm(Alu::add, Width::b, Reg::rax, 0x7f);  // OF when the saved one is set
  out_.sahf();
  out_.mov(Width::q, Reg::rax, second_scratch);
}

// ---- addresses ----

void Generator::put_linear(Reg to, i64 offset, Width width) {
  auto const in_page = block().start + offset;
  if (!page_.relative) {
    auto const address = page_.linear + static_cast<u64>(in_page);
    return out_.mov_imm(to, width == Width::q ? address : static_cast<u32>(address));
  }
  out_.load(Width::q, to, place_of_page());
  if (in_page == static_cast<i32>(in_page)) {
    out_.lea(width, to, {.base = to, .disp = static_cast<i32>(in_page)});
  } else {  // the displacement is nearly 2 GiB
    auto const half = static_cast<i32>(in_page / 2);
    out_.lea(Width::q, to, {.base = to, .disp = half});
    out_.lea(width, to, {.base = to, .disp = static_cast<i32>(in_page - half)});
  }
}

Mem Generator::registers_of(x86::Instruction const& insn) const {
  auto const& memory = insn.memory;
  return {.base = memory.base == x86::no_register ? Reg::none : host(memory.base),
          .index = memory.index == x86::no_register ? Reg::none : host(memory.index),
          .scale = memory.scale,
          .disp = static_cast<i32>(memory.displacement)};
}

void Generator::to_scratch(Mem const& guest, Width width) {
  if (guest.base != Reg::none && guest.index == Reg::none && guest.disp == 0)
    out_.mov(width, scratch, guest.base);
  else
    out_.lea(width, scratch, guest);
}

void Generator::address(Item const& item) {
  auto const& insn = item.insn;
  auto const& memory = insn.memory;
  auto const width = insn.address_size == 8 ? Width::q : Width::d;
  if (memory.rip_relative) {
    put_linear(scratch, item.offset + insn.length + memory.displacement, width);
  } else if (memory.displacement != static_cast<i32>(memory.displacement)) {
    out_.mov_imm(scratch, static_cast<u64>(memory.displacement));
  } else {
    auto const guest = registers_of(insn);
    if (guest.index == Reg::none && guest.base == Reg::none) {
      auto const value = static_cast<u64>(memory.displacement);
      out_.mov_imm(scratch, width == Width::q ? value : static_cast<u32>(value));
    } else {
      to_scratch(guest, width);
    }
  }
  if (memory.segment == SegmentRegister::fs) out_.alu(Alu::add, Width::q, scratch, VIREO_CONTEXT(fs_base));
  if (memory.segment == SegmentRegister::gs) out_.alu(Alu::add, Width::q, scratch, VIREO_CONTEXT(gs_base));
}

void Generator::check_tag(bool write, u32 bytes, Label& miss) {
  TlbCode::index(out_, write);
  out_.alu(Alu::xor_, Width::q, scratch, TlbCode::tag(write));
  out_.alu_imm(Alu::cmp, Width::q, scratch, last_offset - static_cast<i32>(bytes));
  out_.jcc(Cond::a, miss);
}

// r10 = linear address; the distance goes where `miss` wants it.
void Generator::find_distance(Cold& miss) {
  if (miss.stack) {
    check_stack_page(miss, miss.entry);
  } else {
    check_tag(miss.write, miss.bytes, miss.entry);
    out_.load(Width::q, miss.into, TlbCode::distance(miss.write));
  }
  out_.bind(miss.back);
}

void Generator::check_stack_page(Cold& miss, Label& otherwise) {
  out_.alu(Alu::xor_, Width::q, scratch, TlbCode::stack_tag(miss.write));
  out_.alu_imm(Alu::cmp, Width::q, scratch, last_offset - static_cast<i32>(miss.bytes));
  out_.jcc(Cond::a, otherwise);
  out_.load(Width::q, miss.into, TlbCode::stack_distance(miss.write));
}

// Another page than the last time, or the end of one. Goes on with r10 = linear address when the TLB does not
// have it all.
void Generator::try_stack_page(Cold& miss) {
  auto unknown = Label{}, beyond = Label{};
  out_.alu(Alu::xor_, Width::q, scratch, TlbCode::stack_tag(miss.write));
  out_.call(miss.write ? trampolines_.stack_write : trampolines_.stack_read);
  out_.jcc(Cond::ne, unknown);
  check_stack_page(miss, beyond);
  out_.jmp(miss.back);
  out_.bind(beyond);
  out_.alu(Alu::xor_, Width::q, scratch, TlbCode::stack_tag(miss.write));
  out_.bind(unknown);
}

Generator::Cold& Generator::refill_cold(Item const& item, u32 size, bool write) {
  auto& miss = cold(Cold::Kind::refill);
  miss.flags = saved_;
  miss.write = write;
  miss.bytes = size;
  miss.into = second_scratch;
  miss.number = site(item, size, write);
  cache_.sites[miss.number].plain = !item.vector && item.insn.operation != x86::Operation::cmpxchg16b;
  return miss;
}

void Generator::check(Item const& item, u32 size, bool write) {
  auto& miss = refill_cold(item, size, write);
  miss.to_host = true;
  check_tag(write, size, miss.entry);
  if (write) {
    out_.alu(Alu::xor_, Width::q, scratch, TlbCode::tag(write));
    out_.alu(Alu::add, Width::q, scratch, TlbCode::distance(write));
  } else {
    out_.alu(Alu::add, Width::q, scratch, TlbCode::page());
  }
  out_.bind(miss.back);
}

// The registers of the guest are ready before the entry is: the access waits for the distance alone.
Mem Generator::reach_by_distance(Item const& item, Mem guest, u32 size, bool write) {
  to_scratch(guest);
  auto& miss = refill_cold(item, size, write);
  miss.stack = guest.base == guest_stack_pointer && guest.index == Reg::none;
  find_distance(miss);
  if (guest.index == Reg::none)
    return {.base = guest.base, .index = second_scratch, .scale = 1, .disp = guest.disp};
  if (guest.base == Reg::none) {
    guest.base = second_scratch;
    return guest;
  }
  to_scratch(guest);
  return {.base = scratch, .index = second_scratch};
}

Mem Generator::in_scratch(Mem place) {
  if (place.base != scratch || place.index != Reg::none || place.disp != 0) out_.lea(Width::q, scratch, place);
  return {.base = scratch};
}

Mem Generator::reach(Item const& item) {
  auto const& operand = item.insn.operands[item.memory_operand];
  if (item.group != Item::no_group)
    return reach_in_group(item, static_cast<i32>(item.insn.memory.displacement));
  lose_flags(item.flags_needed);
  if (mode_.code64() && is_plain(item.insn))
    return reach_by_distance(item, registers_of(item.insn), operand.size, operand.written);
  if (mode_.code64())
    address(item);
  else
    legacy_address(item, operand.size, operand.written);
  check(item, operand.size, operand.written);
  return {.base = scratch};
}

Mem Generator::reach_at(Item const& item, Mem at, u32 size, bool write) {
  if (item.group != Item::no_group) return reach_in_group(item, at.disp);
  lose_flags(item.flags_needed);
  return reach_by_distance(item, at, size, write);
}

// ---- accesses that share a check: host address = guest address + what lies in the group's place ----

Mem Generator::reach_in_group(Item const& item, i32 displacement) {
  auto const& group = region_.groups[item.group];
  if (group.moves) return reach_moving(item, displacement);
  if (item.first_of_group && !group.before_loop) {
    auto const explicit_operand = item.memory_operand != 0xff;
    auto const writes = explicit_operand ? item.insn.operands[item.memory_operand].written
                                         : item.kind == Kind::push || item.kind == Kind::call ||
                                               item.kind == Kind::system || item.kind == Kind::indirect_call;
    return {
        .base = host(group.base), .index = check_group(group, item, writes), .scale = 1, .disp = displacement};
  }
  return {.base = host(group.base), .index = distance(item.group), .scale = 1, .disp = displacement};
}

// The register that holds a group's distance. Leaves the flags.
Reg Generator::distance(u32 number) {
  auto const& group = region_.groups[number];
  if (group.place != AccessGroup::no_place) return static_cast<Reg>(group.place);
  out_.load(Width::q, second_scratch, distance_home(number));
  return second_scratch;
}

Reg Generator::check_group(AccessGroup const& group, Item const& item, bool first_writes) {
  lose_flags(item.flags_needed);
  to_scratch({.base = host(group.base), .disp = group.low});
  return check_range(group, item, first_writes);
}

// A refill opens these bytes alone for stores, where code lies elsewhere in the page. Loops that move through
// the page therefore need its write tag, and never refill for stores.
Reg Generator::check_range(AccessGroup const& group, Item const& item, bool first_writes) {
  auto& miss = cold(Cold::Kind::refill_group);
  miss.flags = saved_;
  miss.write = group.write;
  miss.never_refill = group.write && !first_writes;
  miss.number = site(item, group.bytes, group.write);
  miss.fall_back = new_exit(block().start + item.offset, !flags_in_register_ && saved_ == Saved::all);
  cache_.exits[miss.fall_back].grouped = false;
  miss.into = group.place != AccessGroup::no_place ? static_cast<Reg>(group.place) : second_scratch;
  miss.bytes = group.bytes;
  miss.stack = group.base == x86::rsp && !group.moves;
  find_distance(miss);
  if (miss.into == second_scratch)
    out_.store(Width::q, distance_home(static_cast<u32>(&group - region_.groups.data())), second_scratch);
  return miss.into;
}

// What a loop does not change is checked before it.
void Generator::groups_before_loop() {
  auto first = Item{};
  first.flags_needed = region_.live_flags;
  for (auto i = 0u; i < region_.group_count; ++i) {
    auto const& group = region_.groups[i];
    if (group.before_loop) check_group(group, first, false);
  }
  if (region_.live_flags != 0) restore_flags();
  flags_written();
}

// ---- the stack, in 64-bit code ----

void Generator::push(Item const& item) {
  auto const& insn = item.insn;
  auto const& operand = insn.operands[0];
  auto const below = Mem{.base = guest_stack_pointer, .disp = -8};
  if (operand.kind == OperandKind::memory) {
    out_.load(Width::q, scratch, reach(item));
    out_.store(Width::q, VIREO_CONTEXT(address), scratch);
    auto const top = in_scratch(reach_at(item, below, 8, true));
    out_.load(Width::q, second_scratch, VIREO_CONTEXT(address));
    out_.store(Width::q, top, second_scratch);
  } else {
    auto const top = reach_at(item, below, 8, true);
    if (operand.kind == OperandKind::gpr)
      out_.store(Width::q, top, host(operand.reg));
    else
      out_.store_imm(Width::q, top, static_cast<i32>(insn.immediate));
  }
  out_.lea(Width::q, guest_stack_pointer, below);
}

void Generator::pop(Item const& item) {
  if (item.insn.operands[0].kind == OperandKind::memory) return pop_to_memory(item);
  auto const to = host(item.insn.operands[0].reg);
  out_.load(Width::q, to, reach_at(item, {.base = guest_stack_pointer}, 8, false));
  if (to != guest_stack_pointer)
    out_.lea(Width::q, guest_stack_pointer, {.base = guest_stack_pointer, .disp = 8});
}

void Generator::leave(Item const& item) {
  auto const top = reach_at(item, {.base = Reg::rbp}, 8, false);
  out_.load(Width::q, scratch, top);
  out_.lea(Width::q, guest_stack_pointer, {.base = Reg::rbp, .disp = 8});
  out_.mov(Width::q, Reg::rbp, scratch);
}

void Generator::push_return_address(Item const& item) {
  auto const next = item.offset + item.insn.length;
  auto const back = page_.linear + block().start + static_cast<u64>(next);
  auto const below = Mem{.base = guest_stack_pointer, .disp = -8};
  auto const top = reach_at(item, below, 8, true);
  if (!page_.relative && back == static_cast<u64>(static_cast<i64>(static_cast<i32>(back)))) {
    out_.store_imm(Width::q, top, static_cast<i32>(back));
  } else {
    auto to = top;
    if (top.index == second_scratch) to = in_scratch(top);
    put_linear(second_scratch, next, Width::q);
    out_.store(Width::q, to, second_scratch);
  }
  out_.lea(Width::q, guest_stack_pointer, below);
}

}  // namespace vireo::engine::soft::translate
