#include "engine/soft/interp/differential_emulated.h"

#include <cstring>

#include "engine/soft/test_machine.h"

namespace vireo::engine::soft::differential {
namespace {

// Guest-physical addresses, reached by the kernel at kernel_base + address.
constexpr u64 gdt{0x1000}, idt{0x2000}, tss{0x3000}, handlers{0x4000}, stack_top{0x6000}, tables{0x10000};
constexpr u64 code_at{0x40'0000}, scratch_at{0x60'0000};
constexpr u64 kernel_base{0xffff'8000'0000'0000};
constexpr u8 hlt{0xf4};
constexpr u64 present{1}, writable{2}, user{4}, large{0x80}, no_execute{u64{1} << 63};
constexpr u32 budget{100'000'000};  // more than a native program gets

constexpr bool has_error_code(u8 vector) {
  return vector == 8 || (vector >= 10 && vector <= 14) || vector == 17;
}

}  // namespace

struct Emulated::Guest {
  TestMachine machine{};
  x86::CpuidModel model{x86::CpuidModel::create("host", 1).value()};
  Cpu cpu{VcpuId{0}, machine, model};
  std::unique_ptr<Executor> executor;
  u64 next_table{tables};
  bool code_changed{};  // by no store of the guest's

  explicit Guest(Tier const& tier);
  u64 new_table() { return next_table += page_size; }
  void map(u64 linear, u64 physical, u64 bits);
  void map_large(u64 linear, u64 physical, u64 bits);
  u64 table_below(u64 entry);
  void write(u64 at, void const* from, std::size_t bytes) {
    std::memcpy(machine.memory().host(Gpa{at}, bytes, true), from, bytes);
  }
  void read(u64 at, void* into, std::size_t bytes) {
    std::memcpy(into, machine.memory().host(Gpa{at}, bytes, false), bytes);
  }
  void load(Program const& program);
};

u64 Emulated::Guest::table_below(u64 entry) {
  auto value = machine.load<u64>(entry);
  if (value == 0) {
    value = new_table() | present | writable | user;
    machine.store<u64>(entry, value);
  }
  return value & ~u64{0xfff};
}

void Emulated::Guest::map(u64 linear, u64 physical, u64 bits) {
  auto table = tables;
  for (auto shift = 39u; shift > 12; shift -= 9) table = table_below(table + (linear >> shift & 511) * 8);
  machine.store<u64>(table + (linear >> 12 & 511) * 8, physical | bits);
}

void Emulated::Guest::map_large(u64 linear, u64 physical, u64 bits) {
  auto table = tables;
  for (auto shift = 39u; shift > 21; shift -= 9) table = table_below(table + (linear >> shift & 511) * 8);
  machine.store<u64>(table + (linear >> 21 & 511) * 8, physical | bits | large);
}

Emulated::Guest::Guest(Tier const& tier) : executor{tier.make()} {
  map_large(kernel_base, 0, present | writable);
  for (auto at = u64{}; at < code_bytes; at += page_size)
    map(code_base + at, code_at + at, present | writable | user);
  for (auto at = u64{}; at < scratch_bytes; at += page_size) {
    auto const rights = at < writable_bytes ? writable : u64{0};
    map(scratch_base + at, scratch_at + at, present | user | no_execute | rights);
  }
  write(scratch_at + writable_bytes, operand_tables().data(), operand_tables().size());
  machine.store<u64>(gdt + 8, 0x00af'9b00'0000'ffff);  // kernel code
  for (auto vector = u64{}; vector < 256; ++vector) {
    auto const to = kernel_base + handlers + vector;
    machine.store<u8>(handlers + vector, hlt);
    machine.store<u64>(idt + vector * 16,
                       (to & 0xffff) | u64{8} << 16 | u64{0xee} << 40 | (to >> 16 & 0xffff) << 48);
    machine.store<u64>(idt + vector * 16 + 8, to >> 32);
  }
  machine.store<u64>(tss + 4, kernel_base + stack_top);
  machine.store<u16>(tss + 102, 0xffff);  // no I/O bitmap
  auto& state = cpu.state;
  state.cr0 = x86::cr0_pe | x86::cr0_mp | x86::cr0_et | x86::cr0_ne | x86::cr0_wp | x86::cr0_am | x86::cr0_pg;
  state.cr4 = x86::cr4_pae | x86::cr4_osfxsr | x86::cr4_osxmmexcpt | x86::cr4_osxsave | x86::cr4_fsgsbase;
  state.xcr0 = 7;
  state.cr3 = tables;
  state.efer = x86::efer_lme | x86::efer_lma | x86::efer_nxe | x86::efer_sce;
  state.gdtr = {.base = kernel_base + gdt, .limit = 0x7f};
  state.idtr = {.base = kernel_base + idt, .limit = 0xfff};
  state.tr = {.base = kernel_base + tss, .limit = 0x67, .selector = 0x40, .attributes = 0x8b};
}

/// Linux' user mode: the selectors that programs see. 64-bit programs have null data segments.
void Emulated::Guest::load(Program const& program) {
  auto const& registers = program.initial;
  auto const flat = Segment{.base = 0, .limit = 0xffff'ffff, .selector = 0x2b, .attributes = 0xc0f3};
  auto const null = Segment{.base = 0, .limit = 0xffff'ffff, .selector = 0, .attributes = 0x100};
  auto& state = cpu.state;
  state.gpr = registers.gpr;
  state.rip = program.rip();
  state.rflags = registers.rflags;
  state.extended = registers.extended;
  state.segment.fill(null);
  auto data = flat;
  switch (program.code_size) {
    case x86::CodeSize::bits16:
      state.cs() = {.base = code_base, .limit = 0xffff, .selector = 0x7, .attributes = 0xfb};
      data = {.base = scratch_base, .limit = scratch_bytes - 1, .selector = 0xf, .attributes = 0xf3};
      break;
    case x86::CodeSize::bits32:
      state.cs() = {.base = 0, .limit = 0xffff'ffff, .selector = 0x23, .attributes = 0xc0fb};
      break;
    case x86::CodeSize::bits64:
      state.cs() = {.base = 0, .limit = 0xffff'ffff, .selector = 0x33, .attributes = 0xa0fb};
      break;
  }
  state.ss() = data;
  if (program.code_size != x86::CodeSize::bits64)
    state.seg(x86::SegmentRegister::ds) = state.seg(x86::SegmentRegister::es) = data;
  state.seg(x86::SegmentRegister::fs).base = registers.fs_base;
  state.seg(x86::SegmentRegister::gs).base = registers.gs_base;
  state.activity = Activity::running;
  state.interrupt_shadow = false;
  cpu.update_mode();
}

Emulated::Emulated(Tier const& tier) : guest_{std::make_unique<Guest>(tier)} {}
Emulated::~Emulated() = default;

x86::CpuidModel const& Emulated::model() const { return guest_->model; }

void Emulated::store(Program const& program) {
  auto bytes = program.code;
  bytes.push_back(hlt);  // #GP there: the program has completed
  auto& guest = *guest_;
  auto const at = code_at + (program.at - code_base);
  auto held = std::vector<u8>(bytes.size());
  guest.read(at, held.data(), held.size());
  if (held == bytes) return;
  guest.write(at, bytes.data(), bytes.size());
  guest.code_changed = true;
}

Outcome Emulated::run(Program const& program, Scratch& scratch) {
  auto& guest = *guest_;
  auto& state = guest.cpu.state;
  guest.write(scratch_at, scratch.data(), scratch.size());
  guest.load(program);
  if (guest.code_changed) guest.executor->forget_all();
  guest.code_changed = false;
  auto const exit = guest.executor->run(guest.cpu, budget);
  guest.read(scratch_at, scratch.data(), scratch.size());
  auto result = Outcome{};
  auto& registers = result.registers;
  registers = {.gpr = state.gpr,
               .rip = state.rip,
               .rflags = state.rflags,
               .fs_base = state.seg(x86::SegmentRegister::fs).base,
               .gs_base = state.seg(x86::SegmentRegister::gs).base,
               .extended = state.extended};
  registers.extended.xstate_bv = 7;
  result.vector = 0xff;
  if (exit != RunExit::idle || state.rip <= kernel_base + handlers) return result;
  result.vector = static_cast<u8>(state.rip - kernel_base - handlers - 1);
  auto const frame = state.gpr[x86::rsp] - kernel_base + (has_error_code(result.vector) ? 8 : 0);
  if (has_error_code(result.vector)) result.error_code = static_cast<u32>(guest.machine.load<u64>(frame - 8));
  registers.rip = guest.machine.load<u64>(frame);
  registers.rflags = guest.machine.load<u64>(frame + 16);
  registers.gpr[x86::rsp] = guest.machine.load<u64>(frame + 24);
  if (result.vector == 14) result.address = state.cr2;
  result.completed = result.vector == 13 && registers.rip == program.rip() + program.code.size();
  if (result.completed) result.vector = 0, result.error_code = 0;
  return result;
}

}  // namespace vireo::engine::soft::differential
