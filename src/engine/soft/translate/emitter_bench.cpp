#include <benchmark/benchmark.h>

#include <vector>

#include "engine/soft/translate/emitter.h"
#include "engine/soft/translate/reencode.h"
#include "x86/decoder.h"

extern "C" unsigned char const __executable_start, etext;  // of the linker

namespace vireo::engine::soft::translate {
namespace {

constexpr u32 capacity{64 * 1024};

/// The check of a TLB entry and its instruction; time per block, of nine instructions and one jump.
void emit_tlb_check(benchmark::State& state) {
  auto code = std::vector<u8>(capacity);
  auto turn = 0u;
  auto registers = std::array{Reg::rbx, Reg::rbp, Reg::r8, Reg::r12};
  for (auto _ : state) {
    auto out = Emitter{code.data(), code.data(), capacity};
    for (auto i = 0; i < 100; ++i) {
      auto slow = Label{};
      auto const guest = Mem{.base = registers[turn++ & 3], .disp = static_cast<i32>(turn & 0xff)};
      auto const index = registers[turn & 3] == Reg::r8 ? Reg::r9 : Reg::r15;
      out.lea(Width::q, Reg::r14, guest);
      out.mov(Width::d, index, Reg::r14);
      out.shift_imm(Shift::shr, Width::d, index, 7);
      out.alu_imm(Alu::and_, Width::d, index, 0x1ffe0);
      out.alu(Alu::xor_, Width::q, Reg::r14, Mem{.base = index, .disp = 0x1000, .gs = true});
      out.alu_imm(Alu::cmp, Width::q, Reg::r14, 4096 - 8);
      out.jcc(Cond::a, slow);
      out.alu(Alu::add, Width::q, Reg::r14, Mem{.base = index, .disp = 0x1008, .gs = true});
      out.load(Width::q, registers[turn & 3], Mem{.base = Reg::r14});
      out.bind(slow);
    }
    benchmark::DoNotOptimize(out.size());
    benchmark::ClobberMemory();
  }
  state.SetItemsProcessed(static_cast<i64>(state.iterations()) * 900);
}
BENCHMARK(emit_tlb_check);

/// What can be re-encoded of a stretch of this very program.
std::vector<x86::Instruction> program_instructions(std::size_t most) {
  auto all = std::vector<x86::Instruction>{};
  auto code = std::array<u8, 64>{};
  auto const* at = &__executable_start + (&etext - &__executable_start) / 2;
  while (all.size() < most && at + 15 < &etext) {
    auto insn = x86::Instruction{};
    auto const status = x86::decode(std::span{at, 15}, x86::CodeSize::bits64, true, insn);
    auto out = Emitter{code.data(), code.data(), code.size()};
    auto const usable = status == x86::DecodeStatus::ok && reencode(out, insn, {}, Mem{.base = Reg::r14});
    if (usable) all.push_back(insn);
    at += status == x86::DecodeStatus::ok ? insn.length : 1;
  }
  return all;
}

void reencode_program(benchmark::State& state) {
  auto const instructions = program_instructions(2000);
  auto code = std::vector<u8>(capacity);
  auto map = RegisterMap{};
  std::swap(map.host[3], map.host[12]);
  for (auto _ : state) {
    auto out = Emitter{code.data(), code.data(), capacity};
    for (auto const& insn : instructions)
      benchmark::DoNotOptimize(reencode(out, insn, map, Mem{.base = Reg::r14, .gs = false}));
    benchmark::DoNotOptimize(out.size());
    benchmark::ClobberMemory();
  }
  state.SetItemsProcessed(static_cast<i64>(state.iterations()) * static_cast<i64>(instructions.size()));
}
BENCHMARK(reencode_program);

}  // namespace
}  // namespace vireo::engine::soft::translate
