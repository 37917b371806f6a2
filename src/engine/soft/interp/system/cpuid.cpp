#include "engine/soft/interp/system/lower_system.h"
#include "engine/soft/tsc.h"

// CPUID: the model's answer with what depends on the vCPU and its registers (SDM vol. 2, CPUID).
namespace vireo::engine::soft::system {

using namespace x86;

namespace {

constexpr u32 word_bit(Feature feature) { return 1u << (static_cast<u32>(feature) & 31); }

// Bytes of an XSAVE area in standard format for these components, or compacted (SDM vol. 1, 13.4).
u32 xsave_size(u64 components) { return components & 4 ? 832 : 576; }

void fill_frequency(CpuidResult& result) {
  auto const& tsc = host_tsc_description();
  result = {.eax = 1, .ebx = tsc.crystal_ratio, .ecx = tsc.crystal_hz, .edx = 0};
}

void fill_processor_frequency(CpuidResult& result) {
  auto const mhz = static_cast<u32>(host_tsc_description().hz / 1'000'000);
  result = {.eax = mhz, .ebx = mhz, .ecx = 100, .edx = 0};
}

}  // namespace

void cpuid(Cpu& cpu, Instruction const&, void const*) {
  auto const& state = cpu.state;
  auto const& model = cpu.model();
  auto const leaf = cpu.gpr<u32>(rax);
  auto const subleaf = cpu.gpr<u32>(rcx);
  auto result = model.lookup(leaf, subleaf);
  auto const last_basic = model.lookup(0, 0).eax;
  auto const known_basic = leaf <= last_basic;

  if (leaf == 1) {
    auto base = u64{0x800};
    if (cpu.apic != nullptr) cpu.apic->read_msr(0x1b, base);
    result.ebx = (result.ebx & 0x00ff'ffff) | cpu.id().value << 24;
    result.ecx &= ~word_bit(Feature::osxsave);
    if (state.cr4 & cr4_osxsave) result.ecx |= word_bit(Feature::osxsave);
    if (!(base & 0x800)) result.edx &= ~word_bit(Feature::apic);
  } else if ((leaf == 0xb || leaf == 0x1f) && known_basic) {
    result.edx = cpu.id().value;
  } else if (leaf == 0xd && known_basic && subleaf == 0) {
    result.ebx = xsave_size(state.xcr0);
  } else if (leaf == 0xd && known_basic && subleaf == 1) {
    if (result.eax != 0) result.ebx = xsave_size(state.xcr0 | state.xss);
  } else if (leaf == 0x15 && known_basic) {
    fill_frequency(result);
  } else if (leaf == 0x16 && known_basic) {
    fill_processor_frequency(result);
  } else if (leaf == 0x8000'001e && result.eax != 0) {
    result.eax = cpu.id().value;
  } else if (leaf == 0x4000'0010 && model.lookup(0x4000'0000, 0).eax >= leaf) {
    auto const& tsc = host_tsc_description();
    result = {.eax = tsc.khz, .ebx = tsc.crystal_hz / 1000, .ecx = 0, .edx = 0};
  }
  cpu.set_gpr(rax, result.eax);
  cpu.set_gpr(rbx, result.ebx);
  cpu.set_gpr(rcx, result.ecx);
  cpu.set_gpr(rdx, result.edx);
}

}  // namespace vireo::engine::soft::system
