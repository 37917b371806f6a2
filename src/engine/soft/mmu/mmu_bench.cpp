#include <benchmark/benchmark.h>

#include "engine/soft/interp/system/event.h"
#include "engine/soft/interp/system/iret.h"
#include "engine/soft/test_machine.h"

namespace vireo::engine::soft {
namespace {

constexpr auto ds = x86::SegmentRegister::ds;
constexpr u64 handler{0x9000};

struct Guest {
  TestMachine machine{64 * MiB};
  x86::CpuidModel model{x86::CpuidModel::create("x86-64-v3", 1).value()};
  Cpu cpu{VcpuId{0}, machine, model};

  Guest() {
    enter_flat64(cpu, machine);
    cpu.state.gdtr = {.base = 0x3000, .limit = 0x7f};
    cpu.state.idtr = {.base = 0x4000, .limit = 0xfff};
    machine.store<u64>(0x3008, 0x00af9b000000ffff);
    machine.store<u64>(0x3010, 0x00cf93000000ffff);
    machine.store<u64>(0x4000 + 14 * 16, 0x00008e0000080000 | handler);
    cpu.state.gpr[x86::rsp] = 0x8000;
  }
};

void read_hit(benchmark::State& state) {
  auto guest = Guest{};
  auto at = u64{};
  for (auto _ : state) {
    benchmark::DoNotOptimize(guest.cpu.read<u64>(ds, 0x10000 + at));
    at = (at + 8) & 0xfff;
  }
}
BENCHMARK(read_hit);

/// `pages` pages in turn: the first level holds 4096, the second 8192.
void read_pages(benchmark::State& state) {
  auto guest = Guest{};
  auto const size = static_cast<u64>(state.range(0)) * page_size;
  auto at = u64{};
  for (auto _ : state) {
    benchmark::DoNotOptimize(guest.cpu.read<u64>(ds, at));
    at += page_size;
    if (at == size) at = 0;
  }
}
BENCHMARK(read_pages)->Arg(1024)->Arg(6144)->Arg(16384);

/// Touches one page after a CR3 write.
void cr3_write(benchmark::State& state) {
  auto guest = Guest{};
  for (auto _ : state) {
    guest.cpu.set_cr3(guest.cpu.state.cr3);
    benchmark::DoNotOptimize(guest.cpu.read<u64>(ds, 0x10000));
  }
}
BENCHMARK(cr3_write);

void update_mode(benchmark::State& state) {
  auto guest = Guest{};
  for (auto _ : state) guest.cpu.update_mode();
}
BENCHMARK(update_mode);

void event_and_return(benchmark::State& state) {
  auto guest = Guest{};
  for (auto _ : state) {
    deliver_event(guest.cpu, {.vector = 14, .kind = Event::Kind::exception, .has_error_code = true});
    guest.cpu.state.gpr[x86::rsp] += 8;
    interrupt_return(guest.cpu, 8);
  }
}
BENCHMARK(event_and_return);

void page_fault(benchmark::State& state) {
  auto guest = Guest{};
  for (auto _ : state) {
    try {
      guest.cpu.read<u64>(ds, 8 * GiB);
    } catch (Fault const& fault) {
      benchmark::DoNotOptimize(fault.error_code);
    }
  }
}
BENCHMARK(page_fault);

}  // namespace
}  // namespace vireo::engine::soft
