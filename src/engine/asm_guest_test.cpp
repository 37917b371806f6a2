#include <gtest/gtest.h>

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <iterator>

#include "engine/soft/test_machine.h"
#include "engine/soft/test_tiers.h"

namespace vireo::engine::soft {
namespace {

constexpr u64 load_at{0x10000};
constexpr u16 result_port{0xf4};

std::vector<std::string> guests() {
  auto names = std::vector<std::string>{};
  for (auto const& entry : std::filesystem::directory_iterator{VIREO_ASM_GUESTS}) {
    if (entry.path().extension() == ".bin") names.push_back(entry.path().stem());
  }
  std::ranges::sort(names);
  return names;
}

std::vector<Tier> all_tiers() {
  auto all = tiers();
  all.push_back(verifying_tier());
  return all;
}

std::vector<u8> read_guest(std::string const& name) {
  auto file = std::ifstream{std::string{VIREO_ASM_GUESTS} + "/" + name + ".bin", std::ios::binary};
  return {std::istreambuf_iterator<char>{file}, {}};
}

class AsmGuest : public testing::TestWithParam<std::tuple<Tier, std::string>> {};

TEST_P(AsmGuest, MeetsItsExpectations) {
  auto const& [tier, name] = GetParam();
  if (std::ranges::find(tier.awaited, name) != tier.awaited.end()) GTEST_SKIP() << "not yet";
  auto machine = TestMachine{};
  auto const model = x86::CpuidModel::create("x86-64-v3", 1).value();
  auto cpu = Cpu{VcpuId{0}, machine, model};
  machine.store_code(load_at, read_guest(name));
  cpu.state.cs().selector = load_at >> 4;
  cpu.state.cs().base = load_at;
  cpu.state.rip = 0;
  cpu.update_mode();

  auto const exit = tier.make()->run(cpu, 10'000'000);

  EXPECT_EQ(exit, RunExit::idle);
  EXPECT_EQ(machine.port_writes, (std::vector<TestMachine::PortWrite>{{result_port, 1, 0}}))
      << "the value written is the number of the expectation that failed";
}

INSTANTIATE_TEST_SUITE_P(All, AsmGuest,
                         testing::Combine(testing::ValuesIn(all_tiers()), testing::ValuesIn(guests())),
                         [](auto const& test) {
                           return std::get<0>(test.param).name + "_" + std::get<1>(test.param);
                         });

}  // namespace
}  // namespace vireo::engine::soft
