#include "engine/soft/interp/vector/save.h"

#include <algorithm>
#include <cstring>

#include "engine/soft/interp/vector/enables.h"
#include "engine/soft/interp/vector/family.h"
#include "x86/address.h"

namespace vireo::engine::soft::vector {
namespace {

using x86::Instruction;
using x86::Operation;

// Offsets in the XSAVE area (SDM vol. 1, 13.4).
constexpr std::size_t mxcsr_at{24}, st_at{32}, xmm_at{160}, fxsave_end{416}, header_at{512}, avx_at{576};
constexpr u64 compacted{u64{1} << 63};
constexpr u32 mxcsr_mask{0xffff};
constexpr u32 mxcsr_initial{0x1f80};

/// A save area of guest memory: where, and in which form this instruction sees it.
struct Area {
  Cpu& cpu;
  x86::SegmentRegister segment;
  u64 offset;
  bool long_pointers;  // FIP and FDP have 64 bits
  std::size_t registers;

  Area(Cpu& of, Instruction const& insn, u64 alignment)
      : cpu{of},
        segment{insn.memory.segment},
        offset{of.effective_address(insn)},
        long_pointers{(insn.prefixes.rex & 8) != 0},
        registers{of.code64() ? std::size_t{16} : std::size_t{8}} {
    of.linear(segment, offset, 1, Access::read);  // the segment's faults come before the alignment's
    require_alignment(of, segment, offset, alignment - 1);
  }
  void read(std::size_t at, void* into, std::size_t length) const {
    cpu.read_bytes(segment, offset + at, into, length);
  }
  void write(std::size_t at, void const* from, std::size_t length) const {
    cpu.write_bytes(segment, offset + at, from, length);
  }
  void probe_write(std::size_t length) const { cpu.probe_write(segment, offset, length); }
};

/// The first 24 bytes of the legacy region. FCS and FDS are deprecated: zero.
struct Environment {
  u16 fcw, fsw;
  u8 ftw, reserved{};
  u16 fop;
  u64 fip, fdp;
};
static_assert(sizeof(Environment) == 24);

void write_x87(Area const& area) {
  auto const& state = area.cpu.state.extended;
  auto const mask = area.long_pointers ? ~u64{} : u64{0xffffffff};
  auto const environment = Environment{.fcw = state.fcw,
                                       .fsw = state.fsw,
                                       .ftw = state.ftw,
                                       .fop = state.fop,
                                       .fip = state.fip & mask,
                                       .fdp = state.fdp & mask};
  area.write(0, &environment, sizeof environment);
  area.write(st_at, state.st, sizeof state.st);
}

void write_mxcsr(Area const& area) {
  u32 const pair[]{area.cpu.state.extended.mxcsr, mxcsr_mask};
  area.write(mxcsr_at, pair, sizeof pair);
}

using LegacyRegion = std::array<u8, header_at>;

void load_x87(ExtendedState& state, LegacyRegion const& region, bool long_pointers) {
  auto const environment = load_le<Environment>(region.data());
  state.fcw = normalised_fcw(environment.fcw);
  state.fsw = normalised_fsw(environment.fsw, state.fcw);
  state.ftw = environment.ftw;
  state.fop = environment.fop & 0x7ff;
  state.fip = long_pointers ? x86::canonical_form(environment.fip) : static_cast<u32>(environment.fip);
  state.fdp = long_pointers ? x86::canonical_form(environment.fdp) : static_cast<u32>(environment.fdp);
  for (std::size_t i = 0; i < 8; i++) {
    state.st[i] = {};
    std::memcpy(state.st[i].bytes, &region[st_at + 16 * i], 10);
  }
}

void reset_x87(ExtendedState& state) {
  auto const initial = ExtendedState{};
  state.fcw = initial.fcw;
  state.fsw = 0;
  state.ftw = 0;
  state.fop = 0;
  state.fip = state.fdp = 0;
  std::copy(std::begin(initial.st), std::end(initial.st), state.st);
}

template <typename Registers>
void load_registers(Registers& registers, u8 const* from, std::size_t count) {
  for (std::size_t i = 0; i < count; i++) std::memcpy(registers[i].bytes, from + 16 * i, 16);
}
template <typename Registers>
void reset_registers(Registers& registers, std::size_t count) {
  for (std::size_t i = 0; i < count; i++) registers[i] = {};
}

u32 checked_mxcsr(LegacyRegion const& region) {
  auto const value = load_le<u32>(&region[mxcsr_at]);
  if ((value & ~mxcsr_mask) != 0) raise_gp();
  return value;
}

// ---- FXSAVE, FXRSTOR (SDM vol. 1, 10.5) ----

void fxsave(Cpu& cpu, Instruction const& insn, void const*) {
  require_x87(cpu);
  auto const area = Area{cpu, insn, 16};
  area.probe_write(header_at);
  write_x87(area);
  write_mxcsr(area);
  area.write(xmm_at, cpu.state.extended.xmm, 16 * area.registers);
}

void fxrstor(Cpu& cpu, Instruction const& insn, void const*) {
  require_x87(cpu);
  auto const area = Area{cpu, insn, 16};
  LegacyRegion region;
  area.read(0, region.data(), region.size());
  auto const mxcsr = checked_mxcsr(region);
  auto& state = cpu.state.extended;
  load_x87(state, region, area.long_pointers);
  load_registers(state.xmm, &region[xmm_at], area.registers);
  state.mxcsr = mxcsr;
}

// ---- XSAVE and its kin (SDM vol. 1, 13.7 to 13.12) ----

void require_xsave(Cpu const& cpu) {
  if ((cpu.state.cr4 & x86::cr4_osxsave) == 0) raise_ud();
  if ((cpu.state.cr0 & x86::cr0_ts) != 0) raise(x86::Vector::nm);
}
void require_supervisor(Cpu const& cpu) {
  if (cpu.cpl() != 0) raise_gp();
}

u64 requested_components(Cpu const& cpu) {
  auto const wanted = (cpu.state.gpr[x86::rdx] << 32) | static_cast<u32>(cpu.state.gpr[x86::rax]);
  return wanted & cpu.state.xcr0;
}

enum class Form : u8 { plain, optimised, compact };

template <Form form>
void save(Cpu& cpu, Instruction const& insn, void const*) {
  require_xsave(cpu);
  if (insn.operation == Operation::xsaves) require_supervisor(cpu);
  auto const area = Area{cpu, insn, 64};
  auto const& state = cpu.state.extended;
  auto const requested = requested_components(cpu);
  auto in_use = components_in_use(cpu.state);
  if (form == Form::compact && state.mxcsr != mxcsr_initial) in_use |= component_sse;
  auto const saved = form == Form::plain ? requested : requested & in_use;

  area.probe_write((saved & component_avx) != 0 ? sizeof(ExtendedState) : avx_at);
  u64 header[2]{};
  if constexpr (form == Form::compact) {
    header[0] = requested & in_use;
    header[1] = requested | compacted;
  } else {
    area.read(header_at, header, 8);
    header[0] = (header[0] & ~requested) | (requested & in_use);
  }
  if ((saved & component_x87) != 0) write_x87(area);
  auto const with_mxcsr =
      form == Form::compact ? saved & component_sse : requested & (component_sse | component_avx);
  if (with_mxcsr != 0) write_mxcsr(area);
  if ((saved & component_sse) != 0) area.write(xmm_at, state.xmm, 16 * area.registers);
  if ((saved & component_avx) != 0) area.write(avx_at, state.ymm_high, 16 * area.registers);
  area.write(header_at, header, form == Form::compact ? 16 : 8);
}

using Header = std::array<u64, 8>;

void check_header(Cpu const& cpu, Header const& header, bool supervisor) {
  auto const all_zero = [&](std::size_t from, std::size_t to) {
    return std::all_of(&header[from], header.data() + to, [](u64 word) { return word == 0; });
  };
  if ((header[1] & compacted) == 0) {
    if (supervisor || (header[0] & ~cpu.state.xcr0) != 0 || !all_zero(1, 3)) raise_gp();
    return;
  }
  if (!cpu.has(x86::Feature::xsavec)) raise_gp();
  auto const present = header[1] & ~compacted;
  if ((present & ~cpu.state.xcr0) != 0 || (header[0] & ~present) != 0 || !all_zero(2, 8)) raise_gp();
}

void xrstor(Cpu& cpu, Instruction const& insn, void const*) {
  require_xsave(cpu);
  auto const supervisor = insn.operation == Operation::xrstors;
  if (supervisor) require_supervisor(cpu);
  auto const area = Area{cpu, insn, 64};
  auto header = Header{};
  area.read(header_at, header.data(), sizeof header);
  check_header(cpu, header, supervisor);

  auto const requested = requested_components(cpu);
  auto const restored = requested & header[0];
  auto const initialised = requested & ~header[0];
  auto const is_compact = (header[1] & compacted) != 0;
  auto const with_mxcsr = is_compact ? restored & component_sse : requested & (component_sse | component_avx);
  LegacyRegion region{};
  if ((restored & (component_x87 | component_sse)) != 0 || with_mxcsr != 0)
    area.read(0, region.data(), region.size());
  std::array<u8, 256> high{};
  if ((restored & component_avx) != 0) area.read(avx_at, high.data(), 16 * area.registers);
  auto const mxcsr = with_mxcsr != 0 ? checked_mxcsr(region) : mxcsr_initial;

  auto& state = cpu.state.extended;
  if ((restored & component_x87) != 0) load_x87(state, region, area.long_pointers);
  if ((initialised & component_x87) != 0) reset_x87(state);
  if ((restored & component_sse) != 0) load_registers(state.xmm, &region[xmm_at], area.registers);
  if ((initialised & component_sse) != 0) reset_registers(state.xmm, area.registers);
  if ((restored & component_avx) != 0) load_registers(state.ymm_high, high.data(), area.registers);
  if ((initialised & component_avx) != 0) reset_registers(state.ymm_high, area.registers);
  if (with_mxcsr != 0 || (initialised & component_sse) != 0) state.mxcsr = mxcsr;
}

template <typename Registers>
bool any_set(Registers const& registers) {
  return std::any_of(std::begin(registers), std::end(registers), [](auto const& one) {
    return std::any_of(std::begin(one.bytes), std::end(one.bytes), [](u8 byte) { return byte != 0; });
  });
}

}  // namespace

u64 components_in_use(VcpuState const& vcpu) {
  auto const& state = vcpu.extended;
  auto const x87_initial = state.fcw == ExtendedState{}.fcw && state.fsw == 0 && state.ftw == 0 &&
                           state.fop == 0 && state.fip == 0 && state.fdp == 0 && !any_set(state.st);
  auto in_use = u64{};
  if (!x87_initial) in_use |= component_x87;
  if (any_set(state.xmm)) in_use |= component_sse;
  if (any_set(state.ymm_high)) in_use |= component_avx;
  return in_use & vcpu.xcr0;
}

u16 normalised_fcw(u16 value) { return static_cast<u16>((value & 0x1f7f) | 0x40); }

u16 normalised_fsw(u16 fsw, u16 fcw) {
  auto const pending = (fsw & ~fcw & 0x3f) != 0;
  return static_cast<u16>((fsw & 0x7f7f) | (pending ? 0x8080 : 0));
}

Lowered lower_save(Instruction const& insn) {
  switch (insn.operation) {
    case Operation::fxsave: return {.handler = fxsave};
    case Operation::fxrstor: return {.handler = fxrstor};
    case Operation::xsave: return {.handler = save<Form::plain>};
    case Operation::xsaveopt: return {.handler = save<Form::optimised>};
    case Operation::xsavec:
    case Operation::xsaves: return {.handler = save<Form::compact>};
    case Operation::xrstor:
    case Operation::xrstors: return {.handler = xrstor};
    default: return {};
  }
}

}  // namespace vireo::engine::soft::vector
