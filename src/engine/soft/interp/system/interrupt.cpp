#include "engine/soft/interp/system/interrupt.h"

#include "engine/soft/interp/system/descriptor.h"
#include "engine/soft/interp/system/segment_stack.h"
#include "engine/soft/interp/system/task.h"

namespace vireo::engine::soft {

using x86::SegmentRegister;
using x86::Vector;

namespace {

constexpr u32 idt_bit{2};
constexpr u64 dr7_general_detect{1u << 13};
constexpr u32 cleared_flags{x86::flag_tf | x86::flag_nt | x86::flag_rf | x86::flag_vm};

bool is_software(Event const& event) {
  return event.kind == Event::Kind::software || event.kind == Event::Kind::software_exception;
}

/// The EXT bit of error codes raised while `event` is delivered (SDM vol. 3, 6.13).
u32 external_bit(Event const& event) { return is_software(event) ? 0 : 1; }

u32 idt_error(Event const& event) { return event.vector * 8u | idt_bit | external_bit(event); }

/// RFLAGS as it is saved: RF is set for faults, so that an instruction breakpoint does not hit again.
u64 saved_flags(Cpu const& cpu, Event const& event) {
  auto const vector = static_cast<Vector>(event.vector);
  auto const fault = event.kind == Event::Kind::exception && vector != Vector::db && vector != Vector::bp &&
                     vector != Vector::of && vector != Vector::df && vector != Vector::mc;
  return cpu.state.rflags | (fault ? x86::flag_rf : 0u);
}

void enter_handler(Cpu& cpu, Segment const& code, u64 rip, u32 flags_to_clear) {
  cpu.state.cs() = code;
  cpu.state.rip = rip;
  cpu.state.rflags &= ~u64{flags_to_clear};
  cpu.update_mode();
}

void deliver_real_mode(Cpu& cpu, Event const& event) {
  auto& state = cpu.state;
  if (event.vector * 4u + 3 > state.idtr.limit) raise_gp(idt_error(event));
  auto const entry = cpu.read_linear<u32>(state.idtr.base + event.vector * 4u, true);
  auto stack = PendingStack{cpu};
  stack.push(state.rflags, 2);
  stack.push(state.cs().selector, 2);
  stack.push(state.rip, 2);
  stack.commit();
  auto const code = real_mode_segment(cpu, SegmentRegister::cs, static_cast<u16>(entry >> 16));
  enter_handler(cpu, code, entry & 0xffff, x86::flag_if | x86::flag_tf | x86::flag_rf | x86::flag_ac);
}

struct Gate {
  Descriptor descriptor;
  bool interrupt;  // clears IF
  bool is_16bit;
};

Gate read_gate(Cpu& cpu, Event const& event) {
  auto const& idtr = cpu.state.idtr;
  auto const wide = cpu.long_mode();
  auto const size = wide ? 16u : 8u;
  if (event.vector * size + size - 1 > idtr.limit) raise_gp(idt_error(event));
  auto gate = Descriptor{};
  gate.address = idtr.base + event.vector * size;
  gate.low = cpu.read_linear<u64>(gate.address, true);
  if (wide) gate.high = cpu.read_linear<u64>(gate.address + 8, true) & 0xffffffff;
  auto const type = gate.system_type();
  auto const is_32bit = type == SystemType::interrupt_gate32 || type == SystemType::trap_gate32;
  auto const is_16bit = type == SystemType::interrupt_gate16 || type == SystemType::trap_gate16;
  auto const known = is_32bit || (!wide && (is_16bit || type == SystemType::task_gate));
  if (gate.code_or_data() || !known) raise_gp(idt_error(event));
  if (is_software(event) && gate.dpl() < cpu.cpl()) raise_gp(idt_error(event));
  if (!gate.present()) raise(Vector::np, idt_error(event));
  auto const interrupt = type == SystemType::interrupt_gate32 || type == SystemType::interrupt_gate16;
  return {gate, interrupt, is_16bit};
}

Descriptor handler_code(Cpu& cpu, u16 selector, u32 ext) {
  if (null_selector(selector)) raise_gp(ext);
  auto const code = read_descriptor(cpu, selector, Vector::gp, ext);
  if (!code.code() || code.dpl() > cpu.cpl()) raise_gp(selector_error(selector, ext));
  if (!code.present()) raise(Vector::np, selector_error(selector, ext));
  return code;
}

void deliver_long_mode(Cpu& cpu, Event const& event) {
  auto& state = cpu.state;
  auto const ext = external_bit(event);
  auto const [gate, interrupt, is_16bit] = read_gate(cpu, event);
  auto const selector = gate.gate_selector();
  auto const code = handler_code(cpu, selector, ext);
  if (!code.long_mode() || code.big()) raise_gp(selector_error(selector, ext));
  auto const cpl = code.conforming() ? cpu.cpl() : code.dpl();
  auto const inner = cpl < cpu.cpl();
  auto const table = gate.gate_stack_table();
  if (!canonical_address(gate.gate_offset())) raise_gp(ext);

  auto top = state.gpr[x86::rsp];
  if (table != 0)
    top = inner_stack64(cpu, static_cast<u8>(table + 3), ext);
  else if (inner)
    top = inner_stack64(cpu, cpl, ext);
  auto const segment = inner ? null_stack_segment(cpl, cpl) : state.ss();
  auto stack = PendingStack{cpu, segment, top & ~u64{15}, cpl, true, ext};
  stack.push(state.ss().selector, 8);
  stack.push(state.gpr[x86::rsp], 8);
  stack.push(saved_flags(cpu, event), 8);
  stack.push(state.cs().selector, 8);
  stack.push(state.rip, 8);
  if (event.has_error_code) stack.push(event.error_code, 8);
  auto const loaded = code_segment(cpu, code, selector, cpl, ext);
  stack.commit();
  enter_handler(cpu, loaded, gate.gate_offset(), cleared_flags | (interrupt ? x86::flag_if : 0u));
}

std::optional<Fault> deliver_protected(Cpu& cpu, Event const& event) {
  auto& state = cpu.state;
  auto const ext = external_bit(event);
  auto const [gate, interrupt, is_16bit] = read_gate(cpu, event);
  if (gate.system_type() == SystemType::task_gate) {
    auto const error_code = event.has_error_code ? std::optional{event.error_code} : std::nullopt;
    return switch_task_by_gate(cpu, gate, idt_error(event), TaskSwitch::call, ext, error_code);
  }
  auto const size = is_16bit ? u8{2} : u8{4};
  auto const offset = is_16bit ? gate.gate_offset() & 0xffff : gate.gate_offset();
  auto const selector = gate.gate_selector();
  auto const code = handler_code(cpu, selector, ext);
  auto const from_v86 = cpu.virtual8086();
  auto const cpl = code.conforming() ? cpu.cpl() : code.dpl();
  if (from_v86 && cpl != 0) raise_gp(selector_error(selector, ext));
  auto const flags = saved_flags(cpu, event);

  auto stack = PendingStack{cpu};
  if (cpl < cpu.cpl()) {
    auto const inner = inner_stack(cpu, cpl, ext);
    auto const segment = checked_stack_segment(cpu, inner.selector, cpl, Vector::ts, ext);
    stack = PendingStack{cpu, segment, inner.pointer, cpl, false, selector_error(inner.selector, ext)};
    if (from_v86) {
      for (auto const which :
           {SegmentRegister::gs, SegmentRegister::fs, SegmentRegister::ds, SegmentRegister::es}) {
        stack.push(state.seg(which).selector, size);
      }
    }
    stack.push(state.ss().selector, size);
    stack.push(state.gpr[x86::rsp], size);
  }
  stack.push(flags, size);
  stack.push(state.cs().selector, size);
  stack.push(state.rip, size);
  if (event.has_error_code) stack.push(event.error_code, size);
  auto const loaded = code_segment(cpu, code, selector, cpl, ext);
  if (offset > loaded.limit) raise_gp(ext);
  stack.commit();
  if (from_v86) {
    for (auto const which :
         {SegmentRegister::gs, SegmentRegister::fs, SegmentRegister::ds, SegmentRegister::es}) {
      state.seg(which) = null_segment(0);
    }
  }
  enter_handler(cpu, loaded, offset, cleared_flags | (interrupt ? x86::flag_if : 0u));
  return {};
}

/// The interrupt redirection bitmap: the 32 bytes below the I/O bitmap, a clear bit keeps the interrupt in the
/// program.
bool goes_to_program(Cpu& cpu, u8 vector) {
  constexpr auto io_map_base = u64{102};
  auto const& tr = cpu.state.tr;
  if (tr.limit < io_map_base + 1) return false;
  auto const at = cpu.read_linear<u16>(tr.base + io_map_base, true) + vector / 8u - 32u;
  if (at > tr.limit) return false;
  return !(cpu.read_linear<u8>(tr.base + at, true) >> vector % 8 & 1);
}

bool is_contributory(Vector vector) {
  return vector == Vector::de || (vector >= Vector::ts && vector <= Vector::gp);
}

/// What an event does before the IDT is looked at.
void recognise(Cpu& cpu, Event const& event) {
  if (event.kind == Event::Kind::exception && static_cast<Vector>(event.vector) == Vector::pf) {
    cpu.state.cr2 = event.address;
  }
  cpu.state.activity = Activity::running;
  cpu.state.interrupt_shadow = false;
}

}  // namespace

bool redirect_interrupt(Cpu& cpu, u8 vector) {
  auto& state = cpu.state;
  auto const privileged = (state.rflags & x86::flag_iopl) == x86::flag_iopl;
  if (!(state.cr4 & x86::cr4_vme) || !goes_to_program(cpu, vector)) {
    if (!privileged) raise_gp();
    return false;
  }
  constexpr auto iopl3 = u64{x86::flag_iopl};
  auto const interrupts_on = (state.rflags & x86::flag_vif) != 0;
  auto const virtual_flags = (state.rflags & ~u64{x86::flag_if}) | iopl3 | (interrupts_on ? x86::flag_if : 0u);
  auto const entry = cpu.read_linear<u32>(vector * 4u, false);
  auto stack = PendingStack{cpu};
  stack.push(privileged ? state.rflags : virtual_flags, 2);
  stack.push(state.cs().selector, 2);
  stack.push(state.rip, 2);
  stack.commit();
  auto const code = real_mode_segment(cpu, SegmentRegister::cs, static_cast<u16>(entry >> 16));
  enter_handler(cpu, code, entry & 0xffff,
                x86::flag_tf | x86::flag_rf | (privileged ? x86::flag_if : x86::flag_vif));
  return true;
}

Combination combine(Event const& first, Vector second) {
  if (first.kind != Event::Kind::exception) return Combination::serial;
  auto const vector = static_cast<Vector>(first.vector);
  auto const second_counts = is_contributory(second) || second == Vector::pf;
  if (vector == Vector::df) return second_counts ? Combination::shutdown : Combination::serial;
  if (vector == Vector::pf) return second_counts ? Combination::double_fault : Combination::serial;
  if (is_contributory(vector) && is_contributory(second)) return Combination::double_fault;
  return Combination::serial;
}

std::optional<Fault> deliver_once(Cpu& cpu, Event const& event) {
  auto fault = std::optional<Fault>{};
  if (!(cpu.state.cr0 & x86::cr0_pe))
    deliver_real_mode(cpu, event);
  else if (cpu.long_mode())
    deliver_long_mode(cpu, event);
  else
    fault = deliver_protected(cpu, event);
  if (event.kind == Event::Kind::nmi) cpu.state.nmi_blocked = true;
  auto const debug = static_cast<Vector>(event.vector) == Vector::db && event.kind != Event::Kind::software;
  if (debug) cpu.state.dr7 &= ~dr7_general_detect;
  return fault;
}

Delivery deliver_event(Cpu& cpu, Event const& event) {
  auto current = event;
  for (;;) {
    recognise(cpu, current);
    auto next = std::optional<Fault>{};
    try {
      next = deliver_once(cpu, current);
      if (!next) return Delivery::delivered;
      current = exception_event(*next);  // of the new task: nothing to combine with
      continue;
    } catch (Fault const& fault) {
      next = fault;
    }
    switch (combine(current, next->vector)) {
      case Combination::serial: current = exception_event(*next); break;
      case Combination::double_fault:
        if (next->vector == Vector::pf) cpu.state.cr2 = next->address;
        current = {
            .vector = static_cast<u8>(Vector::df), .kind = Event::Kind::exception, .has_error_code = true};
        break;
      case Combination::shutdown: return Delivery::shutdown;
    }
  }
}

}  // namespace vireo::engine::soft
