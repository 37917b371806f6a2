#include <algorithm>
#include <cstring>
#include <memory>

#include "engine/soft/interp/system/far_transfer.h"
#include "engine/soft/interp/system/interrupt.h"
#include "engine/soft/interp/system/iret.h"
#include "engine/soft/test_machine.h"

// Descriptor tables, page tables, TSSs, stacks and control registers of the fuzzer's choice; then events and
// far transfers. Nothing but Fault may come out, and deliver_event always ends.

using namespace vireo;
using namespace vireo::engine;
using namespace vireo::engine::soft;

namespace {

class Input {
 public:
  Input(u8 const* data, std::size_t size) : data_{data}, left_{size} {}
  template <typename T>
  T take() {
    auto value = T{};
    auto const count = std::min(left_, sizeof value);
    std::memcpy(&value, data_, count);
    data_ += count;
    left_ -= count;
    return value;
  }
  bool empty() const { return left_ == 0; }

 private:
  u8 const* data_;
  std::size_t left_;
};

constexpr u64 memory_size{64 * KiB};

void choose_mode(Input& input, Cpu& cpu, TestMachine& machine) {
  auto const mode = input.take<u8>();
  if (mode % 4 == 1) enter_flat32(cpu);
  if (mode % 4 == 2) enter_flat64(cpu, machine, 0x8000, 1);
  if (mode % 4 == 3) {
    enter_flat64(cpu, machine, 0x8000, 1);
    cpu.state.cs().attributes = 0xc09b;
  }
  auto& state = cpu.state;
  if (mode & 4) {
    for (auto& segment : state.segment) segment.attributes |= 0x60;
  }
  if (mode & 8) state.cr4 |= x86::cr4_vme | x86::cr4_smep | x86::cr4_smap | x86::cr4_pge;
  state.rflags = input.take<u32>() & 0x3f7fd5;
  if (mode % 4 != 1) state.rflags &= ~u64{x86::flag_vm};
  if (mode % 4 == 1 && (mode & 16)) {
    state.cr4 |= mode & 32 ? x86::cr4_pae : x86::cr4_pse;
    state.cr0 |= x86::cr0_pg;
    state.cr3 = input.take<u16>() & 0xffe0;
  }
  state.gdtr = {.base = input.take<u16>(), .limit = input.take<u16>()};
  state.idtr = {.base = input.take<u16>(), .limit = input.take<u16>()};
  state.ldtr = {.base = input.take<u16>(), .limit = input.take<u16>(), .selector = 0x28, .attributes = 0x82};
  state.tr = {.base = input.take<u16>(),
              .limit = input.take<u16>(),
              .selector = 0x30,
              .attributes = static_cast<u16>(0x80 | (input.take<u8>() & 0xf))};
  state.gpr[x86::rsp] = input.take<u16>();
  state.rip = input.take<u16>();
  cpu.update_mode();
  cpu.mmu.set_cr3(state.cr3, false);
}

void act(Input& input, Cpu& cpu) {
  constexpr u8 sizes[]{2, 4, 8, 4};
  auto const what = input.take<u8>();
  auto const size = sizes[what >> 6];
  switch (what % 6) {
    case 0:
      deliver_event(cpu, {.vector = input.take<u8>(),
                          .kind = static_cast<Event::Kind>(input.take<u8>() % 6),
                          .has_error_code = (what & 8) != 0,
                          .error_code = input.take<u16>()});
      break;
    case 1: interrupt_return(cpu, size); break;
    case 2: far_jump(cpu, input.take<u16>(), input.take<u64>(), size); break;
    case 3: far_call(cpu, input.take<u16>(), input.take<u64>(), size); break;
    case 4: far_return(cpu, input.take<u8>(), size); break;
    default:
      cpu.write<u64>(static_cast<x86::SegmentRegister>(what >> 3 & 3), input.take<u32>(), input.take<u64>());
  }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(u8 const* data, std::size_t size) {
  static auto machine = TestMachine{memory_size};
  static auto const model = x86::CpuidModel{};
  static auto cpu = std::make_unique<Cpu>(VcpuId{0}, machine, model);
  auto* const memory = machine.memory().host(Gpa{0}, memory_size, true);
  std::memset(memory, 0, memory_size);
  cpu->state = reset_state(true);
  cpu->update_mode();
  auto input = Input{data, size};
  choose_mode(input, *cpu, machine);
  for (auto chunks = input.take<u8>() % 64; chunks > 0; --chunks) {  // eight bytes at a time, anywhere
    auto const at = input.take<u16>() & 0xfff8;
    auto const value = input.take<u64>();
    std::memcpy(memory + at, &value, sizeof value);
  }
  while (!input.empty()) {
    try {
      act(input, *cpu);
    } catch (Fault const& fault) {
      if (deliver_event(*cpu, exception_event(fault)) == Delivery::shutdown) return 0;
    }
    cpu->update_mode();
  }
  return 0;
}
