#include <gtest/gtest.h>

#include <algorithm>
#include <cstdlib>

#include "engine/soft/interp/differential_sides.h"
#include "engine/soft/interp/random_blocks/block_generator.h"
#include "engine/soft/interp/random_blocks/reduce.h"
#include "vocab/numbers.h"

namespace vireo::engine::soft::differential {
namespace {

constexpr u64 program_slot{0x2000};  // starts anywhere in its first page
constexpr u64 programs_at_once{code_bytes / program_slot};
constexpr u64 runs{3};  // of each program, in a row
constexpr u64 most_reports{5};

u64 from_environment(char const* name, u64 otherwise) {
  auto const* const text = std::getenv(name);
  return text == nullptr ? otherwise : std::strtoull(text, nullptr, 0);
}

class RandomBlocks : public testing::TestWithParam<Tier> {
 protected:
  void SetUp() override {
    if (auto const prepared = Native::prepare(); !prepared) GTEST_SKIP() << prepared.error().what();
  }
  void compare_with_host(x86::CodeSize code_size, u64 default_programs);
  std::string report(Sides& sides, std::span<Case const> of_program);

  Scratch before_{};
};

/// The same start values and, where the program can be reduced alone, what is left of it.
std::string RandomBlocks::report(Sides& sides, std::span<Case const> of_program) {
  auto shown = Case{};
  auto const fails = [&](Program const& program) {
    auto again = std::vector(of_program.begin(), of_program.end());
    for (auto& c : again) c.program.code = program.code;
    sides.run(again, before_);
    auto const found = std::ranges::find_if(again, [&](Case const& c) { return sides.differs(c); });
    if (found == again.end()) return false;
    shown = *found;
    return true;
  };
  if (fails(of_program[0].program)) {
    reduced(of_program[0].program, fails);
    return sides.text(shown, before_);
  }
  auto const found = std::ranges::find_if(of_program, [&](Case const& c) { return sides.differs(c); });
  return "only after the programs before it:\n" + sides.text(*found, before_);
}

void RandomBlocks::compare_with_host(x86::CodeSize code_size, u64 default_programs) {
  auto const seed = from_environment("VIREO_DIFFERENTIAL_SEED", 1);
  auto const programs = from_environment("VIREO_DIFFERENTIAL_BLOCKS", default_programs);
  auto sides = Sides{GetParam()};
  auto generator = BlockGenerator{seed, code_size, sides.model()};
  auto different = u64{}, completed = u64{}, endless = u64{};
  for (auto done = u64{}; done < programs; done += programs_at_once) {
    before_ = generator.scratch();
    auto cases = std::vector<Case>{};
    for (auto slot = u64{}; slot < programs_at_once; ++slot) {
      auto const start = (seed + done + slot * 1021) % page_size;
      cases.push_back({.program = generator.next(code_base + slot * program_slot + start)});
      for (auto run = u64{1}; run < runs; ++run) {
        cases.push_back(cases.back());
        cases.back().program.initial = generator.other_registers(cases.back().program);
      }
    }
    sides.run(cases, before_);
    for (auto first = 0uz; first < cases.size(); first += runs) {
      auto const of_program = std::span{cases}.subspan(first, runs);
      completed +=
          static_cast<u64>(std::ranges::count_if(of_program, [](auto const& c) { return c.native.completed; }));
      endless +=
          static_cast<u64>(std::ranges::count_if(of_program, [](auto const& c) { return c.native.endless; }));
      if (std::ranges::none_of(of_program, [&](Case const& c) { return sides.differs(c); })) continue;
      if (++different <= most_reports) ADD_FAILURE() << "seed " << seed << "\n" << report(sides, of_program);
    }
  }
  EXPECT_EQ(different, 0u) << "of " << programs << " programs, seed " << seed;
  EXPECT_GE(completed * 2, programs * runs) << "too many programs end in a fault";
  EXPECT_LE(endless * 100, programs * runs) << "too many programs had to be stopped";
  RecordProperty("completed", std::to_string(completed));
  RecordProperty("endless", std::to_string(endless));
}

TEST_P(RandomBlocks, LeaveWhatTheHostLeavesIn64BitMode) { compare_with_host(x86::CodeSize::bits64, 6'000); }

TEST_P(RandomBlocks, LeaveWhatTheHostLeavesInCompatibilityMode) {
  compare_with_host(x86::CodeSize::bits32, 4'000);
}

INSTANTIATE_TEST_SUITE_P(Tiers, RandomBlocks, testing::ValuesIn(tiers()),
                         [](auto const& tier) { return tier.param.name; });

}  // namespace
}  // namespace vireo::engine::soft::differential
