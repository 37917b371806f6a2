#include "engine/soft/interp/system/descriptor.h"

namespace vireo::engine::soft {

using x86::SegmentRegister;
using x86::Vector;

namespace {

constexpr u16 table_indicator{4};
constexpr u16 unusable{0x100};

}  // namespace

Segment Descriptor::hidden(u16 selector) const {
  return {.base = base(),
          .limit = limit(),
          .selector = selector,
          .attributes = static_cast<u16>(access() | (low >> 40 & 0xf000))};
}

bool find_descriptor(Cpu& cpu, u16 selector, Descriptor& out, bool wide) {
  auto const& state = cpu.state;
  auto const local = (selector & table_indicator) != 0;
  if (local && (state.ldtr.unusable() || null_selector(state.ldtr.selector))) return false;
  auto const base = local ? state.ldtr.base : state.gdtr.base;
  auto const limit = local ? state.ldtr.limit : u32{state.gdtr.limit};
  auto const offset = u32{selector} & 0xfff8;
  if (offset + (wide ? 15 : 7) > limit) return false;
  out.address = base + offset;
  out.low = cpu.read_linear<u64>(out.address, true);
  out.high = wide ? cpu.read_linear<u64>(out.address + 8, true) : 0;
  return true;
}

Descriptor read_descriptor(Cpu& cpu, u16 selector, Vector vector, u32 ext, bool wide) {
  auto descriptor = Descriptor{};
  if (!find_descriptor(cpu, selector, descriptor, wide)) raise(vector, selector_error(selector, ext));
  return descriptor;
}

void mark_accessed(Cpu& cpu, Descriptor& descriptor) {
  if (descriptor.access() & 1) return;
  auto const at = descriptor.address + 5;
  cpu.write_linear<u8>(at, static_cast<u8>(cpu.read_linear<u8>(at, true) | 1), true);
  descriptor.low |= u64{1} << 40;
}

Segment null_segment(u16 selector) {
  return {.base = 0, .limit = 0xffff, .selector = selector, .attributes = unusable};
}

Segment null_stack_segment(u16 selector, u8 cpl) {
  return {
      .base = 0, .limit = 0xffff, .selector = selector, .attributes = static_cast<u16>(unusable | cpl << 5)};
}

Segment real_mode_segment(Cpu const& cpu, SegmentRegister which, u16 selector) {
  auto segment = cpu.state.seg(which);
  segment.selector = selector;
  segment.base = u64{selector} << 4;
  if (cpu.virtual8086()) {
    segment.limit = 0xffff;
    segment.attributes = 0xf3;
  } else {
    segment.attributes =
        static_cast<u16>((segment.attributes & ~u16{unusable | 0x60}) | 0x93);  // keeps limit and size
    if (which == SegmentRegister::cs) segment.attributes = static_cast<u16>(segment.attributes | 8);
  }
  return segment;
}

Segment checked_stack_segment(Cpu& cpu, u16 selector, u8 cpl, Vector vector, u32 ext) {
  if (null_selector(selector)) raise(vector, ext);
  auto descriptor = read_descriptor(cpu, selector, vector, ext);
  auto const right =
      requested_privilege(selector) == cpl && descriptor.writable_data() && descriptor.dpl() == cpl;
  if (!right) raise(vector, selector_error(selector, ext));
  if (!descriptor.present()) raise(Vector::ss, selector_error(selector, ext));
  mark_accessed(cpu, descriptor);
  return descriptor.hidden(selector);
}

Segment checked_segment(Cpu& cpu, SegmentRegister which, u16 selector) {
  if (!cpu.protected_mode()) return real_mode_segment(cpu, which, selector);
  if (which == SegmentRegister::ss) {
    auto const may_be_null = cpu.code64() && cpu.cpl() != 3 && requested_privilege(selector) == cpu.cpl();
    if (null_selector(selector) && may_be_null) return null_stack_segment(selector, cpu.cpl());
    return checked_stack_segment(cpu, selector, cpu.cpl(), Vector::gp);
  }
  if (null_selector(selector)) return null_segment(selector);
  auto descriptor = read_descriptor(cpu, selector);
  auto const allowed = descriptor.code_or_data() && descriptor.readable() &&
                       (descriptor.conforming() ||
                        (requested_privilege(selector) <= descriptor.dpl() && cpu.cpl() <= descriptor.dpl()));
  if (!allowed) raise_gp(selector_error(selector));
  if (!descriptor.present()) raise(Vector::np, selector_error(selector));
  mark_accessed(cpu, descriptor);
  return descriptor.hidden(selector);
}

Segment code_segment(Cpu& cpu, Descriptor descriptor, u16 selector, u8 cpl, u32 ext) {
  if (!descriptor.present()) raise(Vector::np, selector_error(selector, ext));
  if (cpu.long_mode() && descriptor.long_mode() && descriptor.big()) raise_gp(selector_error(selector, ext));
  mark_accessed(cpu, descriptor);
  return descriptor.hidden(static_cast<u16>((selector & ~3) | cpl));
}

void check_target(Cpu const& cpu, Segment const& code, u64 offset) {
  auto const is_code64 = cpu.long_mode() && code.long_mode();
  if (is_code64 ? !canonical_address(offset) : offset > code.limit) raise_gp();
}

}  // namespace vireo::engine::soft
