#include <benchmark/benchmark.h>

#include <memory>
#include <thread>

#include "engine/soft/code_pages.h"
#include "engine/soft/test_machine.h"

namespace vireo::engine::soft {
namespace {

constexpr auto ds = x86::SegmentRegister::ds;
constexpr u64 code{0x5000};

struct Guest final : PageListener {
  TestMachine machine{64 * MiB};
  x86::CpuidModel model{x86::CpuidModel::create("x86-64-v3", 1).value()};
  Rendezvous rendezvous;
  CodePages pages{machine.memory(), rendezvous};
  Cpu cpu{VcpuId{0}, machine, model};
  Rendezvous::Member member{rendezvous, *this};

  Guest() {
    cpu.follow_code(&pages, &member);
    enter_flat64(cpu, machine);
  }
  void drop_code(std::byte*) override {}
  void drop_write_tags(std::byte* page) override { cpu.mmu.drop_write_tags(page); }
  void forget_mappings() override {}
  void wanted() override {}
  std::byte* host(u64 at) { return machine.memory().host(Gpa{at}, 1, true); }
};

void look_up(benchmark::State& state) {
  auto guest = Guest{};
  auto* const host = guest.host(code);
  for (auto _ : state) benchmark::DoNotOptimize(guest.pages.watched(host, 8));
}
BENCHMARK(look_up);

/// A store beside code: data and code share a page.
void store_beside_code(benchmark::State& state) {
  auto guest = Guest{};
  guest.pages.watch(guest.host(code), 1, &guest.member);
  for (auto _ : state) guest.cpu.write<u64>(ds, code + 0x800, 1);
}
BENCHMARK(store_beside_code);

/// Translating, overwriting, translating again on a single vCPU.
void watch_and_store(benchmark::State& state) {
  auto guest = Guest{};
  for (auto _ : state) {
    guest.pages.watch(guest.host(code), 1, &guest.member);
    guest.cpu.write<u64>(ds, code, 1);
  }
}
BENCHMARK(watch_and_store);

/// 64 KiB read from a disk into memory without code.
void note_transfer(benchmark::State& state) {
  auto guest = Guest{};
  for (auto _ : state) guest.machine.memory().note_written(Gpa{0x100000}, 64 * KiB);
}
BENCHMARK(note_transfer);

void enter_and_leave_code(benchmark::State& state) {
  auto guest = Guest{};
  for (auto _ : state) {
    guest.member.enter_code();
    guest.member.leave_code();
  }
}
BENCHMARK(enter_and_leave_code);

/// A request to a vCPU that is busy in code on another thread, there and back.
void rendezvous_with_another(benchmark::State& state) {
  struct Busy final : PageListener {
    explicit Busy(Rendezvous& rendezvous) : member{rendezvous, *this} {}
    void drop_code(std::byte*) override {}
    void drop_write_tags(std::byte*) override {}
    void forget_mappings() override {}
    void wanted() override { attention.store(true, std::memory_order_release); }
    Rendezvous::Member member;
    std::atomic<bool> attention{}, stop{};
  };
  auto guest = Guest{};
  auto busy = std::make_unique<Busy>(guest.rendezvous);
  auto thread = std::thread{[&] {
    while (!busy->stop.load()) {
      busy->attention = false;
      busy->member.enter_code();
      while (!busy->attention.load(std::memory_order_acquire) && !busy->stop.load()) __builtin_ia32_pause();
      busy->member.leave_code();
    }
  }};
  auto* const page = guest.host(code);
  for (auto _ : state) guest.rendezvous.request(&guest.member, {&page, 1}, Rendezvous::Request::drop_code);
  busy->stop = true;
  thread.join();
}
BENCHMARK(rendezvous_with_another);

}  // namespace
}  // namespace vireo::engine::soft
