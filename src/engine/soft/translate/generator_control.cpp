#include <cstddef>

#include "engine/soft/mmu/window.h"
#include "engine/soft/translate/generator.h"

namespace vireo::engine::soft::translate {

using x86::OperandKind;

i64 Generator::target_of(Item const& item) const {
  if (!mode_.code64()) return legacy_target_of(item);
  return block().start + item.offset + item.insn.length + static_cast<i64>(item.insn.immediate);
}
bool Generator::in_page(i64 target) const {
  if (page_.second_host != nullptr) return false;
  auto const goes_on = target == block().start + region_.length;
  return target >= 0 && target < 4096 && !(goes_on && region_.crosses_page);
}

u32 Generator::new_exit(i64 target, bool flags_saved) {
  auto const slot = in_page(target) ? 0 : slots_.slot_for(page_, target, flags_saved);
  cache_.exits.push_back({.target = target,
                          .block = block_ & 0x3fff'ffff,
                          .grouped = true,
                          .flags_saved = flags_saved,
                          .slot = slot});
  return static_cast<u32>(cache_.exits.size() - 1);
}

// A loop within the block can be left at its start.
void Generator::poll_at_start() {
  if (!region_.loops || (region_.comes_back && !block().grouped)) return;
  auto const first = Item{};
  lose_flags(region_.live_flags);
  auto& where = cold(Cold::Kind::interrupt);
  where.number = site(first, 0, false);
  out_.alu_imm(Alu::cmp, Width::d, VIREO_CONTEXT(poll), 0);
  out_.jcc(Cond::ne, where.entry);
}

void Generator::branch(Item const& item) {
  restore_flags();
  auto const cond = static_cast<Cond>(item.insn.opcode & 0xf);
  auto const target = target_of(item);
  if (goes_round(target)) return out_.jcc(cond, body_);
  if (beyond_limit(target)) {
    auto& refused = cold(Cold::Kind::refused);
    refused.number = site(item, 0, false);
    return out_.jcc(cond, refused.entry);
  }
  auto& leaving = cold(Cold::Kind::leave);
  leaving.backward = target <= block().start + item.offset;
  leaving.flags = item.flags_at_target == 0 ? Saved::all : saved_;
  leaving.number = new_exit(target, leaving.backward);
  out_.jcc(cond, leaving.entry);
  leaving.patch = here() - 4;
}

void Generator::jump(Item const& item) {
  auto const target = target_of(item);
  if (goes_round(target)) {
    restore_flags();
    return out_.jmp(body_);
  }
  if (beyond_limit(target)) return interpret(item);
  leave_to(target, target <= block().start + item.offset, item.flags_at_target);
}

void Generator::call(Item const& item) {
  auto const target = target_of(item);
  if (beyond_limit(target)) return interpret(item);
  if (mode_.code64())
    push_return_address(item);
  else
    legacy_push_return_address(item);
  leave_to(target, target <= block().start + item.offset, item.flags_at_target);
}

// Flags that nobody needs count as saved.
void Generator::leave_to(i64 target, bool backward, u32 live_flags) {
  if (!flags_in_register_ && saved_ != Saved::all) flags_in_register_ = true;
  auto const flags = live_flags == 0 ? Saved::all : saved_;
  auto leaving = Cold{.kind = Cold::Kind::leave, .flags = flags, .backward = backward};
  leaving.number = new_exit(target, backward || !flags_in_register_);
  finish_leaving(leaving);
}

// A backward jump looks whether somebody wants the vCPU.
void Generator::finish_leaving(Cold const& leaving) {
  auto& exit = cache_.exits[leaving.number];
  auto const direct =
      leaving.patch != 0 && !leaving.backward && block().loan_count == 0 && in_page(exit.target);
  loans_end();
  auto wanted = Label{};
  if (leaving.backward) {
    if (leaving.flags != Saved::all) save_all_flags();
    out_.alu_imm(Alu::cmp, Width::d, VIREO_CONTEXT(poll), 0);
    out_.jcc(Cond::ne, wanted);
  }
  if (direct) {
    exit.patch = leaving.patch;
    leave_as(ExitKind::link, leaving.number);
  } else {
    jump_out(leaving.number);
  }
  if (!leaving.backward) return;
  out_.bind(wanted);
  leave_as(ExitKind::poll, leaving.number);
}

void Generator::leave_as(ExitKind kind, u32 number) {
  out_.mov_imm(second_scratch, number);
  out_.jmp(trampolines_.exit(kind));
}

// A direct jump, linked when it is known where it leads.
void Generator::jump_out(u32 number) {
  auto& exit = cache_.exits[number];
  if (!in_page(exit.target)) {
    out_.mov_imm(second_scratch, number);
    return out_.jmp(Mem{.disp = static_cast<i32>(offsetof(Window, slots) + exit.slot * 8), .gs = true});
  }
  auto next = Label{};
  out_.jmp(next);
  exit.patch = here() - 4;
  out_.bind(next);
  leave_as(ExitKind::link, number);
}

void Generator::indirect(Item const& item) {
  auto const& insn = item.insn;
  auto const& operand = insn.operands[0];
  lose_flags(item.flags_needed);
  if (operand.kind == OperandKind::memory) {
    auto only_operand = item;  // the group is that of the return address
    if (item.kind == Kind::indirect_call) only_operand.group = Item::no_group;
    out_.load(Width::q, scratch, reach(only_operand));
  } else {
    out_.mov(Width::q, scratch, host(operand.reg));
  }
  if (item.kind != Kind::indirect_call) return go_indirect(item, 0);
  refuse_other_half(item);
  // What was checked before leaves r10.
  auto const keeps_target = item.group != Item::no_group && !item.first_of_group && page_.relative &&
                            region_.groups[item.group].place != AccessGroup::no_place;
  if (!keeps_target) out_.store(Width::q, VIREO_CONTEXT(target), scratch);
  push_return_address(item);
  if (!keeps_target) out_.load(Width::q, scratch, VIREO_CONTEXT(target));
  go_indirect(item, -8);
}

// A target that is no address is refused before anything is pushed. So is one in the other half of the
// addresses, which is rare: the interpreter does it right.
void Generator::refuse_other_half(Item const& item) {
  auto& refused = cold(Cold::Kind::refused);
  refused.number = site(item, 0, false);
  out_.mov(Width::q, second_scratch, scratch);
  out_.shift_imm(Shift::sar, Width::q, second_scratch, 47);
  if (!page_.relative) out_.alu_imm(Alu::add, Width::d, second_scratch, 1);
  out_.jcc(Cond::ne, refused.entry);
}

void Generator::ret(Item const& item) {
  lose_flags(item.flags_needed);
  out_.load(Width::q, scratch, reach_at(item, {.base = guest_stack_pointer}, 8, false));
  auto const extra = item.insn.operand_count != 0 ? static_cast<i32>(item.insn.immediate & 0xffff) : 0;
  out_.lea(Width::q, guest_stack_pointer, {.base = guest_stack_pointer, .disp = 8 + extra});
  go_indirect(item, 8 + extra);
}

// r10 is the target. The flags are saved: the target's entry compares.
void Generator::go_indirect(Item const& item, i32 popped) {
  loans_end();
  auto const from = site(item, 0, false);
  cache_.sites[from].loans_ended = true;
  cache_.sites[from].popped = popped;
  out_.store_imm(Width::d, VIREO_CONTEXT(jumped_from), static_cast<i32>(from));
  out_.mov(Width::d, second_scratch, scratch);
  out_.shift_imm(Shift::shl, Width::d, second_scratch, 4);
  out_.alu(Alu::and_, Width::d, second_scratch, VIREO_CONTEXT(jump_mask));
  out_.jmp(Mem{.base = second_scratch,
               .disp = static_cast<i32>(offsetof(Window, jumps) + offsetof(Window::Jump, code)),
               .gs = true});
}

u32 Generator::interpreted_site(Item const& item) {
  auto const number = site(item, 0, false);
  cache_.sites[number].interpreted =
      cache_.add_interpreted(item.decoded ? lowering_.lowered(item.insn) : GenericInstruction{});
  return number;
}

void Generator::interpret(Item const& item) { leave_as(ExitKind::interpret, interpreted_site(item)); }

}  // namespace vireo::engine::soft::translate
