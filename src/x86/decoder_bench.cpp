#include <benchmark/benchmark.h>
#include <link.h>

#include <bit>
#include <vector>

#include "x86/decoder.h"

namespace vireo::x86 {
namespace {

/// The longest executable mapping of this process: a shared library, in the words of its compiler.
std::span<u8 const> largest_code() {
  auto largest = std::span<u8 const>{};
  auto const look = [](dl_phdr_info* object, std::size_t, void* result) {
    for (auto const& segment : std::span{object->dlpi_phdr, object->dlpi_phnum}) {
      auto& best = *static_cast<std::span<u8 const>*>(result);
      if (segment.p_type != PT_LOAD || !(segment.p_flags & PF_X) || segment.p_memsz <= best.size()) continue;
      best = {std::bit_cast<u8 const*>(object->dlpi_addr + segment.p_vaddr), segment.p_memsz};
    }
    return 0;
  };
  dl_iterate_phdr(look, &largest);
  return largest;
}

std::vector<std::span<u8 const>> instructions_of(std::span<u8 const> code, std::size_t most) {
  auto all = std::vector<std::span<u8 const>>{};
  auto insn = Instruction{};
  for (auto at = code.size() / 2; all.size() < most && at + 15 < code.size();) {
    auto const bytes = code.subspan(at, 15);
    auto const status = decode(bytes, CodeSize::bits64, true, insn);
    if (status == DecodeStatus::ok) all.push_back(bytes);
    at += status == DecodeStatus::ok ? insn.length : 1;
  }
  return all;
}

void decode_library(benchmark::State& state) {
  auto const instructions = instructions_of(largest_code(), 100'000);
  auto insn = Instruction{};
  auto next = 0uz;
  for (auto _ : state) {
    benchmark::DoNotOptimize(decode(instructions[next], CodeSize::bits64, true, insn));
    benchmark::ClobberMemory();
    next = next + 1 == instructions.size() ? 0 : next + 1;
  }
}
BENCHMARK(decode_library);

void decode_same(benchmark::State& state, std::array<u8, 15> const& bytes) {
  auto insn = Instruction{};
  for (auto _ : state) {
    benchmark::DoNotOptimize(decode(bytes, CodeSize::bits64, true, insn));
    benchmark::ClobberMemory();
  }
}
BENCHMARK_CAPTURE(decode_same, push_rbp, std::array<u8, 15>{0x55});
BENCHMARK_CAPTURE(decode_same, add_registers, std::array<u8, 15>{0x48, 0x01, 0xd8});
BENCHMARK_CAPTURE(decode_same, load_with_index, std::array<u8, 15>{0x4a, 0x8b, 0x44, 0xa8, 0x10});
BENCHMARK_CAPTURE(decode_same, compare_immediate, std::array<u8, 15>{0x81, 0x7d, 0xfc, 1, 2, 3, 4});
BENCHMARK_CAPTURE(decode_same, movups, std::array<u8, 15>{0x0f, 0x11, 0x44, 0x24, 0x20});
BENCHMARK_CAPTURE(decode_same, vpaddd, std::array<u8, 15>{0xc5, 0xed, 0xfe, 0x4e, 0x40});

}  // namespace
}  // namespace vireo::x86
