#include <bit>
#include <cstddef>
#include <cstdlib>

#include "engine/soft/translate/generator.h"

// Loops that move through memory: the pages are looked up once for as many turns as stay in them.
namespace vireo::engine::soft::translate {

namespace {
constexpr i32 most_turns{1023};  // until somebody looks whether the vCPU is wanted
constexpr i32 offset_in_page{4095};
}  // namespace

Mem Generator::guest_place(AccessGroup const& group, i32 displacement) const {
  return {.base = group.base == x86::no_register ? Reg::none : host(group.base),
          .index = group.index == x86::no_register ? Reg::none : host(group.index),
          .scale = group.scale,
          .disp = displacement};
}

// Before the first turn, and again when the turns that were checked are over. No flags live.
void Generator::prepare_loop() {
  auto first_turn = Label{};
  out_.bind(prepare_);
  poll_at_start();
  auto const turns = static_cast<Reg>(region_.turns);
  out_.mov_imm(turns, most_turns);
  for (auto i = 0u; i < region_.group_count; ++i) {
    if (region_.groups[i].moves) prepare_group(i);
  }
  out_.jmp_short(first_turn);
  out_.bind(body_);
  out_.alu_imm(Alu::sub, Width::d, turns, 1);
  out_.jcc(Cond::b, prepare_);
  out_.bind(first_turn);
}

void Generator::prepare_group(u32 number) {
  auto const& group = region_.groups[number];
  auto first = Item{};
  out_.lea(Width::q, scratch, guest_place(group, group.low));
  check_range(group, first, false);
  if (group.stride != 0) {
    auto const turns = static_cast<Reg>(region_.turns);
    auto const shift = std::bit_width(static_cast<u32>(std::abs(group.stride)) - 1);
    out_.mov(Width::d, second_scratch, scratch);
    out_.alu_imm(Alu::and_, Width::d, second_scratch, offset_in_page);
    if (group.stride > 0) {
      out_.neg(Width::d, second_scratch);
      out_.alu_imm(Alu::add, Width::d, second_scratch, offset_in_page + 1 - static_cast<i32>(group.bytes));
    }
    out_.shift_imm(Shift::shr, Width::d, second_scratch, static_cast<u8>(shift));
    out_.alu(Alu::cmp, Width::d, second_scratch, turns);
    out_.cmov(Cond::b, Width::d, turns, second_scratch);
  }
}

// Leaves the flags.
Mem Generator::reach_moving(Item const& item, i32 displacement) {
  auto const& group = region_.groups[item.group];
  auto const by = distance(item.group);
  if (group.index == x86::no_register)
    return {.base = host(group.base), .index = by, .scale = 1, .disp = displacement};
  out_.lea(Width::q, scratch, guest_place(group, displacement));
  return {.base = scratch, .index = by};
}

}  // namespace vireo::engine::soft::translate
