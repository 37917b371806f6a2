#include <cstring>

#include "engine/soft/local_apic.h"

// Any traffic of registers, MSRs, messages and time leaves a local APIC that can be saved and restored.
namespace vireo::engine::soft {
namespace {

class Surroundings final : public ApicSurroundings {
 public:
  u64 machine_tsc() const override { return now; }
  u64 guest_tsc_offset() const override { return offset; }
  void notify() override {}
  void send(ApicMessage const& message) override {
    if (apic->matches(message)) apic->accept(message);
  }
  void end_of_level_interrupt(u8) override {}
  void kick_vcpu(u32) override {}

  LocalApic* apic{};
  u64 now{1}, offset{};
};

struct Step {
  u8 action;
  u8 small;
  u16 index;
  u64 value;
};

void perform(LocalApic& apic, Surroundings& around, Step const& step) {
  auto value = step.value;
  switch (step.action % 10) {
    case 0: apic.write_register(step.index & 0xffc, static_cast<u32>(value)); break;
    case 1: apic.read_register(step.index & 0xfff); break;
    case 2: apic.write_msr(0x800 + (step.index & 0xff), value); break;
    case 3: apic.read_msr(0x800 + (step.index & 0xff), value); break;
    case 4: apic.write_msr(step.small & 1 ? apic::msr_apic_base : apic::msr_tsc_deadline, value); break;
    case 5: around.send(decode_msi(value, step.index)); break;
    case 6: around.now += value >> (step.small & 63); break;
    case 7: around.offset = value; break;
    case 8: apic.set_cr8(value); break;
    default: apic.acknowledge(); break;
  }
  apic.poll_timer();
}

}  // namespace
}  // namespace vireo::engine::soft

extern "C" int LLVMFuzzerTestOneInput(unsigned char const* data, std::size_t size) {
  using namespace vireo::engine::soft;
  auto around = Surroundings{};
  auto apic = LocalApic{vireo::VcpuId{0}, around, 104};
  around.apic = &apic;
  auto step = Step{};
  for (; size >= sizeof step; data += sizeof step, size -= sizeof step) {
    std::memcpy(&step, data, sizeof step);
    perform(apic, around, step);
  }
  auto const saved = apic.save();
  auto other = LocalApic{vireo::VcpuId{0}, around, 104};
  if (!other.restore(saved) || other.save() != saved) __builtin_trap();
  return 0;
}
