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

/// `pages` pages in turn: the first level holds 16384, the second 8192.
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

/// A small page table on its own, without a Cpu.
struct Translation {
  static constexpr u64 tables{0x10000}, far{64 * MiB};
  TestMachine machine{128 * MiB};
  Mmu mmu{machine.memory(), 39, true};

  explicit Translation(bool pcid) {
    constexpr u64 all_rights{0x67};  // present, writable, user, accessed, dirty
    machine.store<u64>(tables, (tables + 0x1000) | all_rights);
    machine.store<u64>(tables + 0x1000, (tables + 0x2000) | all_rights);
    for (auto directory = u64{}; directory < 32; ++directory) {
      machine.store<u64>(tables + 0x2000 + directory * 8, (tables + 0x3000 + directory * 0x1000) | all_rights);
    }
    for (auto page = u64{}; page < 32 * 512; ++page) {
      machine.store<u64>(tables + 0x3000 + page * 8, (far + page * page_size) | all_rights);
    }
    mmu.set_mode({.format = PagingMode::Format::four_level, .pcid = pcid}, tables);
    mmu.set_cr3(tables, false);
  }
  void touch(u64 page, Rights rights = Rights::user) {
    benchmark::DoNotOptimize(mmu.refill(page * page_size, 8, Access::read, rights));
  }
};

/// A first-level miss that the second level answers.
void refill(benchmark::State& state) {
  auto translation = Translation{false};
  for (auto page = u64{}; page < 4096; ++page) translation.touch(page);
  auto page = u64{};
  for (auto _ : state) translation.touch(page++ % 4096);
}
BENCHMARK(refill);

/// A miss in both, in page tables of 4 KiB pages.
void walk(benchmark::State& state) {
  auto translation = Translation{false};
  auto page = u64{};
  for (auto _ : state) translation.touch(page++ % (32 * 512));
}
BENCHMARK(walk);

/// Between two address spaces that stay cached.
void cr3_switch_kept(benchmark::State& state) {
  auto translation = Translation{true};
  auto pcid = u64{1};
  for (auto _ : state) {
    translation.mmu.set_cr3(Translation::tables | pcid, true);
    pcid = 3 - pcid;
  }
}
BENCHMARK(cr3_switch_kept);

/// A flush of a space of which 300 pages are in the first level, and their way back.
void flush_and_refill_300(benchmark::State& state) {
  auto translation = Translation{false};
  for (auto _ : state) {
    translation.mmu.set_cr3(Translation::tables, false);
    for (auto page = u64{}; page < 300; ++page) translation.touch(page);
  }
}
BENCHMARK(flush_and_refill_300);

void flush_300(benchmark::State& state) {
  auto translation = Translation{false};
  for (auto _ : state) {
    state.PauseTiming();
    for (auto page = u64{}; page < 300; ++page) translation.touch(page);
    state.ResumeTiming();
    translation.mmu.set_cr3(Translation::tables, false);
  }
}
BENCHMARK(flush_300)->Iterations(20000);

void invlpg(benchmark::State& state) {
  auto translation = Translation{false};
  for (auto page = u64{}; page < 300; ++page) translation.touch(page);
  auto page = u64{};
  for (auto _ : state) translation.mmu.flush_page(page++ % 300 * page_size);
}
BENCHMARK(invlpg);

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
