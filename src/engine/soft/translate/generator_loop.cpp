#include <cstddef>

#include "engine/soft/translate/generator.h"

// JCXZ, LOOP, LOOPE, LOOPNE.
namespace vireo::engine::soft::translate {

using x86::Operation;

void Generator::test_counter(u8 address_size) {
  if (address_size == 2) return out_.test(Width::w, Reg::rcx, Reg::rcx);
  out_.test(address_size == 4 ? Width::d : Width::q, Reg::rcx, Reg::rcx);
}

void Generator::loop(Item const& item) {
  auto const& insn = item.insn;
  auto const operation = insn.operation;
  auto const target = target_of(item);
  if (beyond_limit(target)) return interpret(item);
  lose_flags(x86::arithmetic_flags);
  auto stays = Label{};
  auto const until_zero = operation == Operation::jcxz;
  if (!until_zero) advance(Reg::rcx, insn.address_size, -1);
  if (operation == Operation::loope || operation == Operation::loopne) {
    out_.test_imm(Width::b, saved_low_flags, x86::flag_zf);
    out_.jcc(operation == Operation::loope ? Cond::e : Cond::ne, stays);
  }
  test_counter(insn.address_size);
  auto& leaving = cold(Cold::Kind::leave);
  leaving.backward = target <= block().start + item.offset;
  leaving.flags = saved_;
  leaving.number = new_exit(target, true);
  out_.jcc(until_zero ? Cond::e : Cond::ne, leaving.entry);
  leaving.patch = here() - 4;
  out_.bind(stays);
}

}  // namespace vireo::engine::soft::translate
