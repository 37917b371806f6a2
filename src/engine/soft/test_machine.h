#pragma once

#include <map>
#include <stdexcept>
#include <vector>

#include "engine/machine_view.h"
#include "engine/soft/interp/cpu.h"

namespace vireo::engine::soft {

/// A machine for unit tests: flat RAM from address 0, ports and MMIO that record writes and answer reads from a
/// table (all ones elsewhere).
class TestMachine final : public MachineView {
 public:
  struct PortWrite {
    u16 port;
    u8 width;
    u32 value;
    bool operator==(PortWrite const&) const = default;
  };
  struct MmioWrite {
    u64 at;
    u8 width;
    u64 value;
    bool operator==(MmioWrite const&) const = default;
  };

  explicit TestMachine(u64 ram_bytes = 16 * MiB) {
    if (!memory_.add({Gpa{0}, ram_bytes}, memory::RegionKind::ram)) throw std::runtime_error{"no guest memory"};
  }

  memory::GuestMemory& memory() override { return memory_; }
  u64 read_mmio(Gpa at, u8 width) override {
    auto const found = mmio_values.find(at.value);
    auto const value = found == mmio_values.end() ? ~u64{0} : found->second;
    return width == 8 ? value : value & ((u64{1} << width * 8) - 1);
  }
  void write_mmio(Gpa at, u8 width, u64 value) override { mmio_writes.push_back({at.value, width, value}); }
  u32 read_port(u16 port, u8 width) override {
    auto const found = port_values.find(port);
    auto const value = found == port_values.end() ? ~u32{0} : found->second;
    return width == 4 ? value : value & ((u32{1} << width * 8) - 1);
  }
  void write_port(u16 port, u8 width, u32 value) override { port_writes.push_back({port, width, value}); }
  int acknowledge_pic() override { return -1; }
  void broadcast_eoi(u8 vector) override { ended_interrupts.push_back(vector); }
  u64 now_ns() override { return time_ns; }
  u64 wall_clock_ns() override { return time_ns; }
  void request_reset(char const* reason) override { resets.emplace_back(reason); }
  void report_failure(char const* reason) override { failures.emplace_back(reason); }

  template <typename T>
  T load(u64 at) const {
    auto const value = memory_.read_as<T>(Gpa{at});
    if (!value) throw std::out_of_range{value.error().what()};
    return *value;
  }
  template <typename T>
  void store(u64 at, T const& value) {
    if (auto const written = memory_.write_as<T>(Gpa{at}, value); !written)
      throw std::out_of_range{"no guest memory"};
  }
  void store_code(u64 at, std::vector<u8> const& bytes) {
    for (auto const byte : bytes) store<u8>(at++, byte);
  }

  std::map<u64, u64> mmio_values;
  std::map<u16, u32> port_values;
  std::vector<PortWrite> port_writes;
  std::vector<MmioWrite> mmio_writes;
  std::vector<u8> ended_interrupts;
  std::vector<std::string> resets, failures;
  u64 time_ns{};

 private:
  memory::GuestMemory memory_;
};

// ---- modes without page tables or descriptor tables, for tests of single instructions ----

/// 32-bit protected mode at CPL 0, flat segments, no paging.
inline void enter_flat32(Cpu& cpu) {
  cpu.state.cr0 |= x86::cr0_pe;
  cpu.state.segment.fill({.base = 0, .limit = 0xffffffff, .selector = 0x10, .attributes = 0xc093});
  cpu.state.cs() = {.base = 0, .limit = 0xffffffff, .selector = 0x8, .attributes = 0xc09b};
  cpu.update_mode();
}
/// 64-bit mode at CPL 0 with the first `gigabytes` mapped one to one by 2 MiB pages, all rights; the page
/// tables take (2 + gigabytes) pages at `tables`.
inline void enter_flat64(Cpu& cpu, TestMachine& machine, u64 tables = 1 * MiB, u64 gigabytes = 4) {
  machine.store<u64>(tables, (tables + 0x1000) | 7);
  for (auto g = u64{}; g < gigabytes; ++g) {
    auto const directory = tables + 0x2000 + g * 0x1000;
    machine.store<u64>(tables + 0x1000 + g * 8, directory | 7);
    for (auto i = u64{}; i < 512; ++i) machine.store<u64>(directory + i * 8, (g * GiB + i * 2 * MiB) | 0xe7);
  }
  cpu.state.cr0 |= x86::cr0_pe | x86::cr0_pg;
  cpu.state.cr4 |= x86::cr4_pae | x86::cr4_osfxsr | x86::cr4_osxmmexcpt;
  cpu.state.cr3 = tables;
  cpu.state.efer |= x86::efer_lme | x86::efer_lma | x86::efer_nxe | x86::efer_sce;
  cpu.state.segment.fill({.base = 0, .limit = 0xffffffff, .selector = 0x10, .attributes = 0xc093});
  cpu.state.cs() = {.base = 0, .limit = 0xffffffff, .selector = 0x8, .attributes = 0xa09b};
  cpu.update_mode();
}
/// The same at CPL 3.
inline void enter_user64(Cpu& cpu, TestMachine& machine) {
  enter_flat64(cpu, machine);
  cpu.state.segment.fill({.base = 0, .limit = 0xffffffff, .selector = 0x23, .attributes = 0xc0f3});
  cpu.state.cs() = {.base = 0, .limit = 0xffffffff, .selector = 0x2b, .attributes = 0xa0fb};
  cpu.update_mode();
}

}  // namespace vireo::engine::soft
