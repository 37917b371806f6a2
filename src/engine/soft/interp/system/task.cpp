#include "engine/soft/interp/system/task.h"

#include <array>
#include <cstddef>

#include "engine/soft/interp/system/event.h"
#include "engine/soft/interp/system/segment_stack.h"

namespace vireo::engine::soft {

using x86::SegmentRegister;
using x86::Vector;

namespace {

/// SDM vol. 3, figures 7-2 and 7-10. Offsets of fields; registers and segments are arrays in encoding order, of
/// which the 16-bit form has ES, CS, SS, DS only.
struct TssLayout {
  u8 width;
  u8 instruction_pointer, flags, registers, segments, segment_count, ldt;
  u32 smallest_limit;
};
constexpr TssLayout layout32{4, 32, 36, 40, 72, 6, 96, 103};
constexpr TssLayout layout16{2, 14, 16, 18, 34, 4, 42, 43};
constexpr u64 tss_cr3{28};
constexpr u64 tss_trap{100};
constexpr u16 busy{2};
constexpr u64 dr6_task_switch{1u << 15};
constexpr u64 dr7_local{0x155};

bool is_tss32(u8 type) { return type & 8; }

TssLayout const& layout_of(u8 type) { return is_tss32(type) ? layout32 : layout16; }

u32 read_field(Cpu& cpu, u64 at, u8 width) {
  return width == 4 ? cpu.read_linear<u32>(at, true) : u32{cpu.read_linear<u16>(at, true)};
}
void write_field(Cpu& cpu, u64 at, u64 value, u8 width) {
  if (width == 4)
    cpu.write_linear<u32>(at, static_cast<u32>(value), true);
  else
    cpu.write_linear<u16>(at, static_cast<u16>(value), true);
}

/// What a TSS holds of a task.
struct Image {
  u32 cr3{}, instruction_pointer{}, flags{};
  std::array<u32, 8> registers{};
  std::array<u16, 6> segments{};
  u16 ldt{};
  bool trap{};
};

Image read_image(Cpu& cpu, u64 base, TssLayout const& layout) {
  auto image = Image{};
  auto const is_32bit = layout.width == 4;
  if (is_32bit) image.cr3 = cpu.read_linear<u32>(base + tss_cr3, true);
  image.instruction_pointer = read_field(cpu, base + layout.instruction_pointer, layout.width);
  image.flags = read_field(cpu, base + layout.flags, layout.width);
  for (auto i = u8{}; i < 8; ++i) {
    auto const value = read_field(cpu, base + layout.registers + i * layout.width, layout.width);
    image.registers[i] = is_32bit ? value : value | 0xffff0000;
  }
  for (auto i = u8{}; i < layout.segment_count; ++i) {
    image.segments[i] = cpu.read_linear<u16>(base + layout.segments + i * layout.width, true);
  }
  image.ldt = cpu.read_linear<u16>(base + layout.ldt, true);
  image.trap = is_32bit && (cpu.read_linear<u16>(base + tss_trap, true) & 1);
  return image;
}

void save_old_task(Cpu& cpu, TssLayout const& layout, u64 flags) {
  auto const& state = cpu.state;
  auto const base = state.tr.base;
  write_field(cpu, base + layout.instruction_pointer, state.rip, layout.width);
  write_field(cpu, base + layout.flags, flags, layout.width);
  for (auto i = u8{}; i < 8; ++i) {
    write_field(cpu, base + layout.registers + i * layout.width, state.gpr[i], layout.width);
  }
  for (auto i = u8{}; i < layout.segment_count; ++i) {
    cpu.write_linear<u16>(base + layout.segments + i * layout.width, state.segment[i].selector, true);
  }
}

void set_busy(Cpu& cpu, u64 descriptor, bool on) {
  auto const type = cpu.read_linear<u8>(descriptor + 5, true);
  cpu.write_linear<u8>(descriptor + 5, static_cast<u8>(on ? type | busy : type & ~busy), true);
}

void load_task_ldt(Cpu& cpu, u16 selector) {
  if (null_selector(selector)) return;
  if (selector & 4) raise(Vector::ts, selector_error(selector));
  auto const descriptor = read_descriptor(cpu, selector, Vector::ts);
  auto const is_ldt = !descriptor.code_or_data() && descriptor.system_type() == SystemType::ldt;
  if (!is_ldt || !descriptor.present()) raise(Vector::ts, selector_error(selector));
  cpu.state.ldtr = descriptor.hidden(selector);
}

void load_task_segments(Cpu& cpu, Image const& image) {
  auto& state = cpu.state;
  auto const code_selector = image.segments[static_cast<u8>(SegmentRegister::cs)];
  if (null_selector(code_selector)) raise(Vector::ts, 0);
  auto code = read_descriptor(cpu, code_selector, Vector::ts);
  auto const cpl = requested_privilege(code_selector);
  auto const allowed = code.code() && (code.conforming() ? code.dpl() <= cpl : code.dpl() == cpl);
  if (!allowed) raise(Vector::ts, selector_error(code_selector));
  if (!code.present()) raise(Vector::np, selector_error(code_selector));
  auto const stack =
      checked_stack_segment(cpu, image.segments[static_cast<u8>(SegmentRegister::ss)], cpl, Vector::ts);
  mark_accessed(cpu, code);
  state.cs() = code.hidden(code_selector);
  state.ss() = stack;
  cpu.update_mode();
  for (auto const which :
       {SegmentRegister::ds, SegmentRegister::es, SegmentRegister::fs, SegmentRegister::gs}) {
    try {
      state.seg(which) = checked_segment(cpu, which, image.segments[static_cast<u8>(which)]);
    } catch (Fault fault) {
      if (fault.vector == Vector::gp) fault.vector = Vector::ts;
      throw fault;
    }
  }
  if (state.rip > state.cs().limit) raise_gp();
}

/// Behind the point of no return: the registers hold the new task's values, what fails is the new task's fault.
void begin_new_task(Cpu& cpu, Image const& image, bool is_32bit, std::optional<u32> error_code) {
  auto& state = cpu.state;
  for (auto i = u8{}; i < 6; ++i) state.segment[i] = null_segment(image.segments[i]);
  auto const virtual_mode = (image.flags & x86::flag_vm) != 0;
  auto const cpl =
      virtual_mode ? u8{3} : requested_privilege(image.segments[static_cast<u8>(SegmentRegister::cs)]);
  state.ss().attributes = static_cast<u16>(state.ss().attributes | cpl << 5);
  state.ldtr = null_segment(image.ldt);
  cpu.update_mode();
  if (is_32bit && (state.cr0 & x86::cr0_pg) && image.cr3 != state.cr3) cpu.set_cr3(image.cr3);
  load_task_ldt(cpu, image.ldt);
  if (virtual_mode) {
    for (auto i = u8{}; i < 6; ++i) {
      state.segment[i] = real_mode_segment(cpu, static_cast<SegmentRegister>(i), image.segments[i]);
    }
    cpu.update_mode();
  } else {
    load_task_segments(cpu, image);
  }
  cpu.update_mode();
  if (error_code) {
    auto stack = PendingStack{cpu};
    stack.push(*error_code, is_32bit ? u8{4} : u8{2});
    stack.commit();
  }
  if (image.trap) {
    state.dr6 |= dr6_task_switch;
    raise(Vector::db);
  }
}

}  // namespace

InnerStack inner_stack(Cpu& cpu, u8 cpl, u32 ext) {
  auto const& tr = cpu.state.tr;
  auto const is_32bit = is_tss32(tr.type());
  auto const offset = is_32bit ? 4u + cpl * 8u : 2u + cpl * 4u;
  if (offset + (is_32bit ? 5 : 3) > tr.limit) raise(Vector::ts, selector_error(tr.selector, ext));
  if (!is_32bit) {
    return {cpu.read_linear<u16>(tr.base + offset + 2, true), cpu.read_linear<u16>(tr.base + offset, true)};
  }
  return {cpu.read_linear<u16>(tr.base + offset + 4, true), cpu.read_linear<u32>(tr.base + offset, true)};
}

u64 inner_stack64(Cpu& cpu, u8 index, u32 ext) {
  auto const& tr = cpu.state.tr;
  auto const offset = 4u + index * 8u;
  if (offset + 7 > tr.limit) raise(Vector::ts, selector_error(tr.selector, ext));
  return cpu.read_linear<u64>(tr.base + offset, true);
}

std::optional<Fault> switch_task(Cpu& cpu, u16 selector, TaskSwitch why, u32 ext,
                                 std::optional<u32> error_code) {
  auto& state = cpu.state;
  auto const refusal = why == TaskSwitch::iret ? Vector::ts : Vector::gp;
  if (null_selector(selector) || (selector & 4)) raise(refusal, selector_error(selector, ext));
  auto const descriptor = read_descriptor(cpu, selector, refusal, ext);
  auto const type = static_cast<SystemType>(descriptor.type() & ~busy);
  auto const is_tss = !descriptor.code_or_data() &&
                      (type == SystemType::tss16_available || type == SystemType::tss32_available);
  auto const is_busy = (descriptor.type() & busy) != 0;
  if (!is_tss || is_busy != (why == TaskSwitch::iret)) raise(refusal, selector_error(selector, ext));
  if (!descriptor.present()) raise(Vector::np, selector_error(selector, ext));
  auto const& layout = layout_of(descriptor.type());
  if (descriptor.limit() < layout.smallest_limit) raise(Vector::ts, selector_error(selector, ext));

  auto const image = read_image(cpu, descriptor.base(), layout);
  auto const& old_layout = layout_of(state.tr.type());
  if (state.tr.limit < old_layout.smallest_limit) raise(Vector::ts, selector_error(state.tr.selector, ext));
  auto const old_descriptor = state.gdtr.base + (state.tr.selector & 0xfff8u);
  // Writes that leave things as they are: all that may fault does so here.
  save_old_task(cpu, old_layout, state.rflags);
  auto const link = cpu.read_linear<u16>(descriptor.base(), true);
  cpu.write_linear<u16>(descriptor.base(), link, true);
  set_busy(cpu, descriptor.address, is_busy);

  if (why != TaskSwitch::call) set_busy(cpu, old_descriptor, false);
  save_old_task(cpu, old_layout, why == TaskSwitch::iret ? state.rflags & ~u64{x86::flag_nt} : state.rflags);
  if (why == TaskSwitch::call) cpu.write_linear<u16>(descriptor.base(), state.tr.selector, true);
  set_busy(cpu, descriptor.address, true);

  auto const is_32bit = layout.width == 4;
  constexpr auto known_flags = u32{0x3f7fd5};
  auto const upper = is_32bit ? 0u : static_cast<u32>(state.rflags) & 0xffff0000u & ~u32{x86::flag_vm};
  state.rflags = (image.flags & known_flags) | upper | x86::flag_fixed;
  if (why == TaskSwitch::call) state.rflags |= x86::flag_nt;
  state.rip = image.instruction_pointer;
  for (auto i = u8{}; i < 8; ++i) state.gpr[i] = image.registers[i];
  state.tr = descriptor.hidden(selector);
  state.tr.attributes |= busy;
  state.cr0 |= x86::cr0_ts;
  state.dr7 &= ~dr7_local;
  try {
    auto effective = image;
    effective.flags = static_cast<u32>(state.rflags);
    begin_new_task(cpu, effective, is_32bit, error_code);
  } catch (Fault const& fault) {
    cpu.update_mode();
    return fault;
  }
  if (state.rflags & x86::flag_if) cpu.interrupts_enabled();
  return {};
}

std::optional<Fault> switch_task_by_gate(Cpu& cpu, Descriptor const& gate, u32 gate_error, TaskSwitch why,
                                         u32 ext, std::optional<u32> error_code) {
  if (!gate.present()) raise(Vector::np, gate_error);
  return switch_task(cpu, gate.gate_selector(), why, ext, error_code);
}

void finish_task_switch(Cpu& cpu, std::optional<Fault> const& fault) {
  if (!fault) return;
  if (deliver_event(cpu, exception_event(*fault)) == Delivery::shutdown) {
    cpu.machine().request_reset("triple fault in a task switch");
  }
}

}  // namespace vireo::engine::soft
