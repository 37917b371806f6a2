#include "engine/soft/translate/generator.h"

#include <cstddef>

#include "engine/soft/mmu/window.h"
#include "x86/table.h"

namespace vireo::engine::soft::translate {

using x86::OperandKind;

Generator::Generator(Emitter& out, CodeCache& cache, Trampolines const& trampolines, Slots& slots,
                     Lowering& lowering, Region const& region, CodeMode const& mode, u32 block)
    : out_{out},
      cache_{cache},
      trampolines_{trampolines},
      slots_{slots},
      lowering_{lowering},
      region_{region},
      mode_{mode},
      block_{block},
      page_{*cache.blocks[block].page},
      base_{cache.used()} {
  map_.host[x86::rsp] = guest_stack_pointer;
}

void Generator::run() {
  block().first_site = static_cast<u32>(cache_.sites.size());
  entries();
  for (auto const& each : region_.all()) item(each);
  if (region_.goes_on) leave_to(block().start + region_.length, false, region_.flags_behind);
  cold_code();
  stale_entries();
  block().code_size = from_entry();
}

// Three ways in: through the jump cache, with the flags saved, and with the flags in RFLAGS. Each can be
// overwritten by a jump of five bytes.
void Generator::entries() {
  block().indirect_entry = here();
  out_.alu(Alu::cmp, Width::q, scratch,
           Mem{.base = second_scratch, .disp = static_cast<i32>(offsetof(Window, jumps)), .gs = true});
  out_.jcc(Cond::ne, trampolines_.find_jump);
  block().saved_entry = from_entry();
  if (region_.live_flags != 0 && saves_flags_first()) return begin_with_saved_flags();
  if (region_.live_flags != 0) {
    flags_in_register_ = false;
    saved_ = Saved::all;
    restore_flags();
  }
  flags_written();
  block().entry = from_entry();
  loans_begin();
  if (region_.loops && region_.vectors) {
    auto first = Item{};
    first.flags_needed = region_.live_flags;
    need_vectors(first);
    if (region_.live_flags != 0) restore_flags();
    flags_written();
  }
  if (region_.comes_back && block().grouped) return prepare_loop();
  groups_before_loop();
  out_.bind(body_);
  poll_at_start();
}

/// The flags live, but an access to memory or an exit comes before what reads or changes them.
bool Generator::saves_flags_first() const {
  if (region_.loops) return false;
  for (auto const& item : region_.all()) {
    auto const& insn = item.insn;
    switch (item.kind) {
      case Kind::nothing:
      case Kind::load_address: break;
      case Kind::branch: return false;
      case Kind::native:
        if (x86::flags_read(insn) != 0 || item.writes_flags) return false;
        if (item.memory_operand != 0xff || item.vector) return true;
        break;
      default: return true;
    }
  }
  return true;
}

// The way in with the flags in RFLAGS saves them as well.
void Generator::begin_with_saved_flags() {
  auto begin = Label{};
  out_.jmp(begin);
  block().entry = from_entry();
  save_all_flags();
  out_.bind(begin);
  flags_in_register_ = false;
  saved_ = Saved::all;
  loans_begin();
}

void Generator::item(Item const& item) {
  auto const legacy = !mode_.code64();
  switch (item.kind) {
    case Kind::nothing: return;
    case Kind::native: return native(item);
    case Kind::load_address: return legacy ? legacy_load_address(item) : load_address(item);
    case Kind::push: return legacy ? legacy_push(item) : push(item);
    case Kind::pop: return legacy ? legacy_pop(item) : pop(item);
    case Kind::leave: return legacy ? legacy_leave(item) : leave(item);
    case Kind::branch: return branch(item);
    case Kind::jump: return jump(item);
    case Kind::call: return call(item);
    case Kind::indirect_jump:
    case Kind::indirect_call: return legacy ? legacy_indirect(item) : indirect(item);
    case Kind::ret: return legacy ? legacy_ret(item) : ret(item);
    case Kind::interpret: return interpret(item);
    case Kind::string: return string(item);
    case Kind::bit_test: return bit_test(item);
    case Kind::loop: return loop(item);
    case Kind::system: return system(item);
    case Kind::system_call: return change_privilege(item);
  }
}

void Generator::native(Item const& item) {
  auto const& insn = item.insn;
  if (item.vector) {
    need_vectors(item);
  }
  auto const& flags = x86::row_of(insn).flags;
  auto const touches_flags = flags.read != 0 || item.writes_flags;
  auto const provide_flags = [&] {
    if (!touches_flags) return;
    if (item.flags_needed != 0) restore_flags();
    if (item.writes_flags) flags_written();
  };
  // Reaching what was checked before leaves the flags, and what provides them spoils r11.
  auto const checked =
      item.group != Item::no_group &&
      (!item.first_of_group || region_.groups[item.group].moves || region_.groups[item.group].before_loop);
  auto memory = Mem{.base = scratch};
  if (checked) provide_flags();
  if (item.memory_operand != 0xff) memory = reach(item);
  if (!checked) {
    auto const restores = touches_flags && item.flags_needed != 0 && !flags_in_register_;
    if (restores && item.memory_operand != 0xff) memory = in_scratch(memory);
    provide_flags();
  }
  if (item.may_trap) {
    auto& where = cache_.sites[site(item, 0, false)];
    where.traps = true;
    where.host_offset = here();
  }
  if (!reencode(out_, insn, map_, memory)) {
    // AH to BH beside a register that needs REX: another base for the moment.
    in_scratch(memory);
    out_.xchg(Width::q, scratch, Reg::rsi);
    memory = {.base = Reg::rsi};
    auto const written = reencode(out_, insn, map_, memory);
    out_.xchg(Width::q, scratch, Reg::rsi);
    if (!written) interpret(item);  // what follows is never reached
  }
}

void Generator::load_address(Item const& item) {
  auto const& insn = item.insn;
  auto const to = host(insn.operands[0].reg);
  auto const& memory = insn.memory;
  auto const width = insn.operand_size == 8 && insn.address_size == 8 ? Width::q : Width::d;
  if (memory.rip_relative) {
    return put_linear(to, item.offset + insn.length + memory.displacement, width);
  }
  out_.lea(width, to, registers_of(insn));
}

// Vector registers are loaded when the first block needs them after C++ code ran.
void Generator::need_vectors(Item const& item) {
  if (vectors_ready_) return;
  vectors_ready_ = true;
  lose_flags(item.flags_needed);
  auto& where = cold(Cold::Kind::load_vectors);
  where.flags = saved_;
  out_.alu_imm(Alu::cmp, Width::d, VIREO_CONTEXT(vectors), 0);
  out_.jcc(Cond::e, where.entry);
  out_.bind(where.back);
}

// ---- registers without a host register borrow one that the block does not use ----

void Generator::loans_begin() {
  auto used = region_.registers;
  auto written = u16{};
  for (auto const& each : region_.all()) written |= each.written;
  for (auto guest = u8{9}; guest <= 11; ++guest) {
    if (!(region_.registers >> guest & 1)) continue;
    auto place = u8{15};
    while ((used >> place & 1) || !keeps_its_register(place)) --place;
    used = static_cast<u16>(used | 1u << place);
    add_loan({guest, place, (written >> guest & 1) != 0});
    map_.host[guest] = static_cast<Reg>(place);
    out_.store(Width::q, home_of(place), static_cast<Reg>(place));
    out_.load(Width::q, static_cast<Reg>(place), home_of(guest));
  }
  auto places = u16{};
  if (region_.comes_back && block().grouped) {
    places = static_cast<u16>(1u << region_.turns);
    add_loan({nobody, region_.turns, false});
    out_.store(Width::q, home_of(region_.turns), static_cast<Reg>(region_.turns));
  }
  for (auto i = 0u; i < region_.group_count; ++i) {
    auto const place = region_.groups[i].place;
    if (place == AccessGroup::no_place || (places >> place & 1)) continue;
    places = static_cast<u16>(places | 1u << place);
    add_loan({nobody, place, false});
    out_.store(Width::q, home_of(place), static_cast<Reg>(place));
  }
}

void Generator::add_loan(Loan loan) {
  auto& of = block();
  of.loans[of.loan_count] = loan;
  of.loan_count = static_cast<u8>((of.loan_count + 1) & 0xf);
}

void Generator::loans_end() {
  auto const& of = block();
  for (auto i = 0u; i < of.loan_count; ++i) {
    auto const& loan = of.loans[i];
    auto const place = static_cast<Reg>(loan.place());
    if (loan.written()) out_.store(Width::q, home_of(loan.guest()), place);
    out_.load(Width::q, place, home_of(loan.place()));
  }
}

// ---- what seldom runs, behind the rest ----

Generator::Cold& Generator::cold(Cold::Kind kind) {
  auto& entry = cold_[cold_count_++];
  entry.kind = kind;
  return entry;
}

u32 Generator::site(Item const& item, u32 size, bool write) {
  return cache_.add_site({.guest_offset = item.offset & 0xfffu,
                          .size = size & 0x1fffu,
                          .flags_kept = static_cast<u32>(saved_) & 3,
                          .write = write});
}

void Generator::stale_entries() {
  auto const stub = [&](u64 saved) {
    auto const at = from_entry();
    out_.mov_imm(second_scratch, block_);
    out_.mov_imm(scratch, saved);
    out_.jmp(trampolines_.exit(ExitKind::stale));
    return at;
  };
  block().stale_entry = stub(0);
  block().stale_saved_entry = block().saved_entry != block().entry ? stub(1) : block().stale_entry;
}

void Generator::cold_code() {
  for (auto i = 0u; i < cold_count_; ++i) {
    auto& each = cold_[i];
    out_.bind(each.entry);
    switch (each.kind) {
      case Cold::Kind::refill: {
        if (each.stack)
          try_stack_page(each);
        else
          out_.alu(Alu::xor_, Width::q, scratch, TlbCode::tag(each.write));
        out_.mov_imm(second_scratch, each.number);
        out_.call(trampolines_.refill);
        if (each.to_host) out_.alu(Alu::add, Width::q, scratch, second_scratch);
        out_.jmp(each.back);
        break;
      }
      case Cold::Kind::refill_group: {
        if (each.stack) try_stack_page(each);
        if (!each.never_refill) {
          if (!each.stack) out_.alu(Alu::xor_, Width::q, scratch, TlbCode::tag(each.write));
          out_.mov_imm(second_scratch, each.number);
          out_.call(trampolines_.refill_group);
          if (each.into != second_scratch) out_.mov(Width::q, each.into, second_scratch);
          out_.jcc(Cond::e, each.back);
        }
        if (each.flags == Saved::carry) out_.alu_imm(Alu::add, Width::b, saved_flags, -1);
        finish_leaving({.kind = Cold::Kind::leave, .flags = each.flags, .number = each.fall_back});
        break;
      }
      case Cold::Kind::load_vectors:
        out_.call(trampolines_.load_vectors);
        out_.jmp(each.back);
        break;
      case Cold::Kind::leave: finish_leaving(each); break;
      case Cold::Kind::refused: leave_as(ExitKind::access, each.number); break;
      case Cold::Kind::interpret: leave_as(ExitKind::interpret, each.number); break;
      case Cold::Kind::interrupt: leave_as(ExitKind::interrupt, each.number); break;
    }
  }
}

}  // namespace vireo::engine::soft::translate
