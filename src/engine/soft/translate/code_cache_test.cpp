#include <gtest/gtest.h>

#include <fstream>
#include <iterator>

#include "engine/soft/test_machine.h"
#include "engine/soft/translate/translator.h"

namespace vireo::engine::soft::translate {
namespace {

constexpr u64 code_at{0x200000}, data_at{0x1f0000}, code_bytes{12 << 20};
constexpr u32 cache_bytes{4 << 20};

/// A long way of "add [rdi], rax; add rax, 1", and HLT at its end.
u64 store_long_way(TestMachine& machine) {
  auto code = std::vector<u8>{};
  auto count = u64{0};
  for (; code.size() < code_bytes; ++count) {
    for (auto const byte : {0x48, 0x01, 0x07, 0x48, 0x83, 0xc0, 0x01}) code.push_back(static_cast<u8>(byte));
  }
  code.push_back(0xf4);
  EXPECT_TRUE(machine.memory().write(Gpa{code_at}, std::as_bytes(std::span{code})));
  return count;
}

TEST(TranslatedCode, IsDroppedWhenTheCacheIsFullAndTheGuestGoesOn) {
  auto machine = TestMachine{};
  auto const model = x86::CpuidModel::create("x86-64-v3", 1).value();
  auto cpu = Cpu{VcpuId{0}, machine, model};
  enter_flat64(cpu, machine);
  auto const count = store_long_way(machine);
  auto const translator = Translator::create(cpu, cache_bytes).value();
  cpu.state.rip = code_at;
  cpu.state.gpr[x86::rdi] = data_at;

  auto const exit = translator->run(cpu, 10'000'000);

  EXPECT_EQ(exit, RunExit::idle);
  EXPECT_EQ(cpu.state.gpr[x86::rax], count);
  EXPECT_EQ(machine.load<u64>(data_at), count * (count - 1) / 2);
  EXPECT_GE(translator->counters().flushes, 1u);
  EXPECT_GT(translator->counters().longest_drop_ns, 0u);
}

TEST(TranslatedCode, IsNowhereWritableAndExecutable) {
  auto machine = TestMachine{};
  auto const model = x86::CpuidModel::create("x86-64-v3", 1).value();
  auto cpu = Cpu{VcpuId{0}, machine, model};
  auto const translator = Translator::create(cpu, cache_bytes).value();

  auto file = std::ifstream{"/proc/self/maps"};
  auto const maps = std::string{std::istreambuf_iterator<char>{file}, {}};

  EXPECT_NE(maps.find(" r-xs "), std::string::npos);
  EXPECT_EQ(maps.find(" rwx"), std::string::npos);
}

}  // namespace
}  // namespace vireo::engine::soft::translate
