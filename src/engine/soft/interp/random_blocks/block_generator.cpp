#include "engine/soft/interp/random_blocks/block_generator.h"

#include <algorithm>

#include "x86/registers.h"

namespace vireo::engine::soft::differential {
namespace {

constexpr u32 deepest{3};
constexpr u64 most_subroutines{4};

}  // namespace

Program BlockGenerator::next(u64 at) {
  auto program = Program{.at = at, .code_size = code_size_, .undefined_flags = x86::flag_af};
  while (!try_program(program)) {
  }
  return program;
}

Registers BlockGenerator::other_registers(Program const& program) {
  auto registers = this->registers();
  registers.fs_base = program.initial.fs_base;
  registers.gs_base = program.initial.gs_base;
  return registers;
}

bool BlockGenerator::try_program(Program& program) {
  program.initial = registers();
  program.modifies_itself = random_.one_in(16);
  begin_program(program.at, program.modifies_itself);
  subroutines_.clear();
  fuel_ = 8 + random_.below(40);
  while (fuel_ > 0) construct(0);
  auto const end = a_.label();
  a_.jump(end);
  fuel_ = 12;
  subroutines();
  a_.bind(end);
  a_.finish();
  program.code = a_.code();
  return !a_.failed() && program.code.size() <= longest_program;
}

void BlockGenerator::body(u32 depth, u64 most) {
  for (auto count = 1 + random_.below(most); count > 0; --count) construct(depth);
}

void BlockGenerator::construct(u32 depth) {
  if (fuel_ > 0) --fuel_;
  if (depth >= deepest || fuel_ == 0 || random_.below(100) < 62) return element();
  switch (random_.below(16)) {
    case 0:
    case 1:
    case 2: return if_then(depth + 1);
    case 3:
    case 4: return if_else(depth + 1);
    case 5:
    case 6:
    case 7: return loop(depth + 1);
    case 8: return loop_by_rcx(depth + 1);
    case 9: return frame(depth + 1);
    case 10:
    case 11: return call();
    case 12: return call_recursive();
    case 13: return call_over();
    case 14: return jump_table(depth + 1);
    default: return jump_indirect(depth + 1);
  }
}

void BlockGenerator::if_then(u32 depth) {
  auto const over = a_.label();
  if (is_data(x86::rcx) && random_.one_in(8)) {  // JRCXZ or LOOP, which reach 128 bytes
    auto const near = a_.label(), past = a_.label();
    a_.loop(random_.one_in(2) ? u8{0xe3} : static_cast<u8>(0xe0 + random_.below(3)), near);
    a_.jump(past, true);
    a_.bind(near);
    a_.jump(over);
    a_.bind(past);
  } else {
    a_.jump_if(condition(), over);
  }
  body(depth, 3);
  a_.bind(over);
}

void BlockGenerator::if_else(u32 depth) {
  auto const otherwise = a_.label(), end = a_.label();
  compare_then_use();
  a_.jump_if(condition(), otherwise);
  body(depth, 2);
  a_.jump(end);
  a_.bind(otherwise);
  body(depth, 2);
  a_.bind(end);
}

/// Where accesses through pointers do not come.
u64 BlockGenerator::counter_offset() {
  for (auto tries = 0; tries < 20; ++tries) {
    auto const offset = free_offset(0, 8);
    auto const near = [&](Pointer const& pointer) {
      return pointer.address - (scratch_base + offset) + 0x100 < 0x300;
    };
    if (std::ranges::none_of(pointers_, near)) return offset;
  }
  return free_offset(0, 8);
}

BlockGenerator::Counter BlockGenerator::new_counter(u64 count) {
  auto const in_memory = random_.one_in(4);
  if (in_memory || (!code64() && reserved_ >> x86::rdi & 1)) {
    auto const offset = counter_offset();
    zones_.push_back({offset, offset + 8});
    auto const at = Place{.displacement = static_cast<i32>(scratch_base + offset)};
    a_.modrm({.opcode = 0xc7, .immediate_bytes = 4}, slash(0), at);
    a_.number(count, 4);
    return {.in_memory = true, .at = at};
  }
  // In 32-bit code few are left: EAX, ECX and EDX stay free.
  auto const reg = code64() ? data_register() : is_data(x86::rsi) ? u8{x86::rsi} : u8{x86::rdi};
  a_.mov_immediate(reg, count);
  return {.reg = reg};
}

/// Leaves ZF set at the end.
void BlockGenerator::count_down(Counter const& counter) {
  if (counter.in_memory) {
    if (random_.one_in(2)) return a_.modrm({.opcode = 0xff}, slash(1), counter.at);
    a_.modrm({.opcode = 0x83, .immediate_bytes = 1}, slash(5), counter.at);
    return a_.number(1, 1);
  }
  switch (random_.below(3)) {
    case 0: return a_.modrm({.opcode = 0xff}, slash(1), Gpr{counter.reg});
    case 1: a_.modrm({.opcode = 0x83}, slash(5), Gpr{counter.reg}); return a_.number(1, 1);
    default:
      a_.modrm({.opcode = 0x8d, .width = wide()}, {counter.reg},
               Place{.base = counter.reg, .displacement = -1});
      return a_.modrm({.opcode = 0x85}, {counter.reg}, Gpr{counter.reg});
  }
}

void BlockGenerator::loop(u32 depth) {
  auto const before = reserved_;
  auto const counter = new_counter(1 + random_.below(depth == 1 ? 20 : 5));
  if (!counter.in_memory) reserved_ |= 1u << counter.reg;
  auto const head = a_.label();
  a_.bind(head);
  body(depth, 4);
  if (random_.one_in(3)) advance_pointer();
  count_down(counter);
  auto const near = a_.distance(head) > -100;
  if (near || random_.one_in(2)) {
    a_.jump_if(5, head, near && random_.one_in(2));
  } else {
    auto const out = a_.label();
    a_.jump_if(4, out, true);
    a_.jump(head);
    a_.bind(out);
  }
  reserved_ = before;
}

void BlockGenerator::advance_pointer() {
  auto const reg = pointer().reg;
  auto const step = random_.one_in(5) ? random_.below(16) : 32;
  if (random_.one_in(2)) {
    a_.modrm({.opcode = 0x83, .width = wide()}, slash(0), Gpr{reg});
    a_.number(step, 1);
  } else {
    a_.modrm({.opcode = 0x8d, .width = wide()}, {reg},
             Place{.base = reg, .displacement = static_cast<i32>(step)});
  }
}

void BlockGenerator::loop_by_rcx(u32 depth) {
  if (!is_data(x86::rcx)) return loop(depth);
  auto const before = reserved_;
  reserved_ |= 1u << x86::rcx;
  a_.mov_immediate(x86::rcx, 1 + random_.below(8));
  auto const head = a_.label(), out = a_.label();
  a_.bind(head);
  if (random_.one_in(2)) {
    auto const go_on = a_.label(), leave = a_.label();
    a_.loop(0xe3, leave);
    a_.jump(go_on, true);
    a_.bind(leave);
    a_.jump(out);
    a_.bind(go_on);
    body(depth, 2);
    a_.modrm({.opcode = 0x8d, .width = wide()}, {x86::rcx}, Place{.base = x86::rcx, .displacement = -1});
    a_.jump(head);
  } else {
    body(depth, 2);
    auto const opcode = static_cast<u8>(random_.one_in(3) ? 0xe0 + random_.below(2) : 0xe2);
    if (a_.distance(head) > -120) {
      a_.loop(opcode, head);
    } else {
      auto const again = a_.label();
      a_.loop(opcode, again);
      a_.jump(out, true);
      a_.bind(again);
      a_.jump(head);
    }
  }
  a_.bind(out);
  reserved_ = before;
}

void BlockGenerator::frame(u32 depth) {
  auto const before = reserved_;
  auto const bytes = static_cast<i32>(8 + random_.below(6) * 8);
  auto const enters = is_data(x86::rbp) && random_.one_in(2);
  if (enters) {
    reserved_ |= 1u << x86::rbp;
    if (random_.one_in(3)) {
      a_.bytes({0xc8});
      a_.number(static_cast<u64>(bytes), 2);
      a_.bytes({0});
    } else {
      a_.opcode_register(0x50, x86::rbp, 4);
      a_.modrm({.opcode = 0x89, .width = wide()}, {x86::rsp}, Gpr{x86::rbp});
    }
  }
  a_.modrm({.opcode = 0x83, .width = wide()}, slash(5), Gpr{x86::rsp});
  a_.number(static_cast<u64>(bytes), 1);
  for (auto accesses = 1 + random_.below(4); accesses > 0; --accesses) {
    auto const at = random_.below(static_cast<u64>(bytes));
    arithmetic_on({.base = x86::rsp, .displacement = static_cast<i32>(at & ~u64{7})}, width());
  }
  body(depth, 3);
  if (enters) {
    a_.bytes({0xc9});
  } else {
    a_.modrm({.opcode = 0x83, .width = wide()}, slash(0), Gpr{x86::rsp});
    a_.number(static_cast<u64>(bytes), 1);
  }
  reserved_ = before;
}

Place BlockGenerator::slot() {
  if (random_.one_in(2)) return place_at_pointer(8, 8);
  return {.displacement = static_cast<i32>(scratch_base + free_offset(0, 8))};
}

void BlockGenerator::call() {
  auto const fresh = subroutines_.empty() || (subroutines_.size() < most_subroutines && random_.one_in(2));
  if (fresh) subroutines_.push_back({.label = a_.label(), .way = static_cast<Return>(random_.below(4))});
  auto& target = fresh ? subroutines_.back() : subroutines_[random_.below(subroutines_.size())];
  if (a_.bound(target.label)) return element();  // would call itself
  target.reserved |= reserved_;
  call_to(target);
}

void BlockGenerator::call_to(Subroutine const& target) {
  if (target.way == Return::with_argument) push_one(wide());
  switch (random_.below(4)) {
    case 0: {
      auto const reg = data_register();
      a_.mov_address(reg, target.label);
      return a_.modrm({.opcode = 0xff}, slash(2), Gpr{reg});
    }
    case 1: {
      auto const at = slot();
      a_.store_address(at, target.label);
      return a_.modrm({.opcode = 0xff}, slash(2), at);
    }
    default: return a_.call(target.label);
  }
}

/// A subroutine that calls itself some levels deep.
void BlockGenerator::call_recursive() {
  auto const before = reserved_;
  auto const counter = new_counter(1 + random_.below(8));
  if (!counter.in_memory) reserved_ |= 1u << counter.reg;
  auto const begin = a_.label(), leave = a_.label(), end = a_.label();
  a_.call(begin);
  element();
  a_.jump(end);
  a_.bind(begin);
  if (random_.one_in(2)) element();
  count_down(counter);
  a_.jump_if(4, leave, true);
  a_.call(begin);
  a_.bind(leave);
  if (random_.one_in(2)) element();
  a_.bytes({0xc3});
  a_.bind(end);
  reserved_ = before;
}

/// CALL for the address' sake, and returns to where nobody called.
void BlockGenerator::call_over() {
  auto const target = a_.label();
  switch (random_.below(3)) {
    case 0:
      a_.call(target);
      element();
      a_.bind(target);
      return a_.opcode_register(0x58, data_register(), 4);
    case 1:
      a_.push_address(target);
      a_.bytes({0xc3});
      element();
      return a_.bind(target);
    default: {
      auto const subroutine = a_.label();
      a_.call(subroutine);
      element();
      a_.bind(subroutine);
      a_.store_address({.base = x86::rsp}, target);
      a_.bytes({0xc3});
      element();
      return a_.bind(target);
    }
  }
}

void BlockGenerator::jump_indirect(u32 depth) {
  auto const target = a_.label();
  if (random_.one_in(2)) {
    auto const reg = data_register();
    a_.mov_address(reg, target);
    a_.modrm({.opcode = 0xff}, slash(4), Gpr{reg});
  } else {
    auto const at = slot();
    a_.store_address(at, target);
    a_.modrm({.opcode = 0xff}, slash(4), at);
  }
  body(depth, 2);
  a_.bind(target);
}

void BlockGenerator::jump_table(u32 depth) {
  auto const offset = free_offset(0, 16) & ~u64{7};
  auto const table = Place{.displacement = static_cast<i32>(scratch_base + offset)};
  auto const first = a_.label(), second = a_.label(), end = a_.label();
  auto const index = data_register();
  a_.store_address(table, first);
  a_.store_address(table.plus(wide()), second);
  a_.modrm({.opcode = 0x83, .width = wide()}, slash(4), Gpr{index});
  a_.number(1, 1);
  auto entry = table;
  entry.index = index;
  entry.scale = wide();
  a_.modrm({.opcode = 0xff}, slash(4), entry);
  a_.bind(first);
  body(depth, 2);
  a_.jump(end);
  a_.bind(second);
  body(depth, 2);
  a_.bind(end);
}

/// They may call those after them.
void BlockGenerator::subroutines() {
  for (auto i = 0uz; i < subroutines_.size(); ++i) {
    auto const way = subroutines_[i].way;
    reserved_ = subroutines_[i].reserved;
    a_.bind(subroutines_[i].label);
    body(deepest - 1, 3);
    return_from(way);
  }
}

void BlockGenerator::return_from(Return way) {
  switch (way) {
    case Return::plain: return a_.bytes({0xc3});
    case Return::with_argument: return a_.bytes({0xc2, wide(), 0});
    case Return::by_jump: {
      auto const reg = data_register();
      a_.opcode_register(0x58, reg, 4);
      return a_.modrm({.opcode = 0xff}, slash(4), Gpr{reg});
    }
    case Return::through_stack: {
      a_.modrm({.opcode = 0x8d, .width = wide()}, {x86::rsp}, Place{.base = x86::rsp, .displacement = wide()});
      return a_.modrm({.opcode = 0xff}, slash(4), Place{.base = x86::rsp, .displacement = -wide()});
    }
  }
}

}  // namespace vireo::engine::soft::differential
