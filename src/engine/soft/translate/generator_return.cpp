#include <cstddef>

#include "engine/soft/mmu/window.h"
#include "engine/soft/translate/generator.h"

// Calls and returns of the guest are calls and returns of the host, so that the processor's return predictor
// knows where they lead. A window remembers the last calls: what address they pushed, and where the host's call
// comes back. A return to another address than the last call's takes the jump cache.
namespace vireo::engine::soft::translate {

namespace {
static_assert(Window::return_entries == 256);  // indices wrap as bytes
Mem last_calls(std::size_t table) {
  return {.index = second_scratch, .scale = 8, .disp = static_cast<i32>(table), .gs = true};
}
constexpr Mem top() { return VIREO_CONTEXT(return_top); }
}  // namespace

// r11 = the address that was pushed. What follows is the way to the callee, on the same host stack.
void Generator::expect_return(Item const& item) {
  auto comes_back = Label{}, callee = Label{};
  out_.mov(Width::q, scratch, second_scratch);
  out_.load(Width::d, second_scratch, top());
  out_.lea(Width::d, second_scratch, {.base = second_scratch, .disp = 1});
  out_.movzx(Width::b, second_scratch, second_scratch);
  out_.store(Width::d, top(), second_scratch);
  out_.store(Width::q, last_calls(offsetof(Window, return_linear)), scratch);
  out_.lea(scratch, comes_back);
  out_.store(Width::q, last_calls(offsetof(Window, return_code)), scratch);
  out_.call(callee);
  out_.bind(comes_back);
  landing(item);
  out_.bind(callee);
  out_.lea(Width::q, Reg::rsp, in_context(8));
}

// r10 = the return address, the flags are saved, registers are in their own places.
void Generator::landing(Item const& item) {
  auto const target = static_cast<i64>(block().start) + item.offset + item.insn.length;
  block().landing = here();
  if (page_.relative) {
    out_.mov_imm(second_scratch, linear(item.offset + item.insn.length));
    out_.alu(Alu::sub, Width::q, scratch, second_scratch);
    out_.store(Width::q, VIREO_CONTEXT(delta), scratch);
  }
  jump_out(new_exit(target, true));
}

// r10 = the target; the flags are saved, and loans have ended.
void Generator::go_to_expected_return(Item const& item, i32 popped) {
  auto& other = cold(Cold::Kind::unexpected_return);
  other.item = static_cast<u16>(&item - region_.items.data());
  other.flags = saved_;
  other.popped = popped;
  out_.load(Width::d, second_scratch, top());
  out_.alu(Alu::cmp, Width::q, scratch, last_calls(offsetof(Window, return_linear)));
  out_.jcc(Cond::ne, other.entry);
  out_.push(last_calls(offsetof(Window, return_code)));
  out_.lea(Width::d, second_scratch, {.base = second_scratch, .disp = -1});
  out_.movzx(Width::b, second_scratch, second_scratch);
  out_.store(Width::d, top(), second_scratch);
  out_.ret();
}

// A return all the same, or the ones after it would be predicted from the wrong calls.
void Generator::unexpected_return(Cold const& returning) {
  saved_ = returning.flags;
  out_.alu_imm(Alu::sub, Width::b, top(), 1);
  out_.push(find_in_jump_cache(region_.items[returning.item], returning.popped));
  out_.ret();
}

}  // namespace vireo::engine::soft::translate
