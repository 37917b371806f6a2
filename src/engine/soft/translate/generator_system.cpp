#include <cstddef>

#include "engine/soft/translate/generator.h"
#include "engine/vcpu_state.h"

// System instructions that need no more than the vCPU's state.
namespace vireo::engine::soft::translate {

using x86::Operation;
using x86::SegmentRegister;

namespace {

// Context::guest is the address of VcpuState::gpr, its first member.
static_assert(offsetof(VcpuState, gpr) == 0);
Mem in_state(std::size_t offset) { return {.base = scratch, .disp = static_cast<i32>(offset)}; }
std::size_t segment_at(SegmentRegister segment) {
  return offsetof(VcpuState, segment) + static_cast<std::size_t>(segment) * sizeof(Segment);
}
#define VIREO_STATE(member) in_state(offsetof(VcpuState, member))

}  // namespace

void Generator::system(Item const& item) {
  switch (item.insn.operation) {
    case Operation::swapgs: return swapgs();
    case Operation::cli:
      lose_flags(item.flags_needed);
      out_.load(Width::q, scratch, VIREO_CONTEXT(guest));
      out_.alu_imm(Alu::and_, Width::d, VIREO_STATE(rflags), static_cast<i32>(~u32{x86::flag_if}));
      return;
    case Operation::cld:
      lose_flags(item.flags_needed);
      out_.load(Width::q, scratch, VIREO_CONTEXT(guest));
      out_.alu_imm(Alu::and_, Width::d, VIREO_STATE(rflags), static_cast<i32>(~u32{x86::flag_df}));
      return;
    case Operation::lfence: return out_.bytes(item.insn.bytes.data(), item.insn.length);
    case Operation::mov_from_control: return read_control(item);
    case Operation::stac:
    case Operation::clac: return call_system(item, trampolines_.set_access);
    case Operation::sti: return sti(item);
    case Operation::pushf: return push_flags(item);
    case Operation::mov_from_segment: {
      auto const to = item.insn.operands[0];
      auto const from = static_cast<SegmentRegister>(item.insn.operands[1].reg);
      out_.load(Width::q, scratch, VIREO_CONTEXT(guest));
      auto const selector = in_state(segment_at(from) + offsetof(Segment, selector));
      if (to.size == 2)
        out_.load(Width::w, host(to.reg), selector);
      else
        out_.load_zx(Width::w, host(to.reg), selector);
      return;
    }
    default: return time_stamp(item);
  }
}

void Generator::read_control(Item const& item) {
  constexpr auto registers = std::array{offsetof(VcpuState, cr0), std::size_t{}, offsetof(VcpuState, cr2),
                                        offsetof(VcpuState, cr3), offsetof(VcpuState, cr4)};
  out_.load(Width::q, scratch, VIREO_CONTEXT(guest));
  out_.load(Width::q, host(item.insn.operands[0].reg), in_state(registers[item.insn.operands[1].reg]));
}

/// A C++ function carries the instruction out; when it cannot, or not all of it, the interpreter goes on.
void Generator::call_system(Item const& item, u8 const* function) {
  lose_flags(item.flags_needed);
  auto& refused = cold(Cold::Kind::interpret);
  refused.number = interpreted_site(item);
  out_.mov_imm(second_scratch, refused.number);
  out_.call(function);
  out_.test(Width::q, scratch, scratch);
  out_.jcc(Cond::e, refused.entry);
}

void Generator::swapgs() {
  auto const base = segment_at(SegmentRegister::gs) + offsetof(Segment, base);
  out_.load(Width::q, scratch, VIREO_CONTEXT(guest));
  out_.load(Width::q, second_scratch, VIREO_CONTEXT(gs_base));
  out_.store(Width::q, VIREO_CONTEXT(address), second_scratch);
  out_.load(Width::q, second_scratch, VIREO_STATE(kernel_gs_base));
  out_.store(Width::q, VIREO_CONTEXT(gs_base), second_scratch);
  out_.store(Width::q, in_state(base), second_scratch);
  out_.load(Width::q, second_scratch, VIREO_CONTEXT(address));
  out_.store(Width::q, VIREO_STATE(kernel_gs_base), second_scratch);
}

// When something waits for IF the interpreter takes it, with the shadow that follows.
void Generator::sti(Item const& item) {
  lose_flags(item.flags_needed);
  auto& waits = cold(Cold::Kind::refused);
  waits.number = site(item, 0, false);
  out_.load(Width::d, second_scratch, VIREO_CONTEXT(poll));
  out_.alu(Alu::or_, Width::d, second_scratch, VIREO_CONTEXT(interrupt_waits));
  out_.jcc(Cond::ne, waits.entry);
  out_.load(Width::q, scratch, VIREO_CONTEXT(guest));
  out_.alu_imm(Alu::or_, Width::d, VIREO_STATE(rflags), x86::flag_if);
}

void Generator::push_flags(Item const& item) {
  lose_flags(x86::arithmetic_flags);
  auto const below = Mem{.base = guest_stack_pointer, .disp = -8};
  auto const top = in_scratch(reach_at(item, below, 8, true));
  out_.store(Width::q, VIREO_CONTEXT(address), scratch);
  out_.load(Width::q, scratch, VIREO_CONTEXT(guest));
  out_.load(Width::d, second_scratch, VIREO_STATE(rflags));
  out_.alu_imm(Alu::and_, Width::d, second_scratch,
               static_cast<i32>(~(x86::arithmetic_flags | x86::flag_rf | x86::flag_vm)));
  out_.load_zx(Width::b, scratch, saved_low_flags);
  out_.alu_imm(Alu::and_, Width::d, scratch, x86::arithmetic_flags & 0xff);
  out_.alu(Alu::or_, Width::d, second_scratch, scratch);
  out_.load_zx(Width::b, scratch, saved_flags);
  out_.shift_imm(Shift::shl, Width::d, scratch, 11);
  out_.alu(Alu::or_, Width::d, second_scratch, scratch);
  out_.load(Width::q, scratch, VIREO_CONTEXT(address));
  out_.store(Width::q, top, second_scratch);
  out_.lea(Width::q, guest_stack_pointer, below);
}

void Generator::time_stamp(Item const& item) {
  lose_flags(item.flags_needed);
  u8 const rdtsc[]{0x0f, 0x31};
  out_.bytes(rdtsc, sizeof rdtsc);
  out_.shift_imm(Shift::shl, Width::q, Reg::rdx, 32);
  out_.alu(Alu::or_, Width::q, Reg::rdx, Reg::rax);
  out_.alu(Alu::add, Width::q, Reg::rdx, VIREO_CONTEXT(tsc_offset));
  out_.mov(Width::d, Reg::rax, Reg::rdx);
  out_.shift_imm(Shift::shr, Width::q, Reg::rdx, 32);
  if (item.insn.operation != Operation::rdtscp) return;
  out_.load(Width::q, scratch, VIREO_CONTEXT(guest));
  out_.load(Width::d, Reg::rcx, VIREO_STATE(tsc_aux));
}

// SYSCALL, SYSRET and IRET: a C++ function changes the privilege and finds where to go on.
void Generator::change_privilege(Item const& item) {
  lose_flags(x86::arithmetic_flags);
  loans_end();
  auto const number = interpreted_site(item);
  cache_.sites[number].loans_ended = true;
  out_.mov_imm(second_scratch, number);
  switch (item.insn.operation) {
    case Operation::syscall: return out_.jmp(trampolines_.system_call);
    case Operation::sysret: return out_.jmp(trampolines_.system_return);
    default: return out_.jmp(trampolines_.interrupt_return);
  }
}

}  // namespace vireo::engine::soft::translate
