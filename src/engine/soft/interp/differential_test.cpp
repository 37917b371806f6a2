#include <fmt/format.h>
#include <gtest/gtest.h>

#include <cstdlib>
#include <map>

#include "engine/soft/interp/differential_generator.h"
#include "engine/soft/interp/differential_sides.h"
#include "x86/decoder.h"
#include "x86/table.h"

namespace vireo::engine::soft::differential {
namespace {

constexpr u64 usual_seed{1};
constexpr std::size_t most_reports{30};  // one per instruction

u64 from_environment(char const* name, u64 otherwise) {
  auto const* const text = std::getenv(name);
  return text == nullptr ? otherwise : std::strtoull(text, nullptr, 0);
}

class Differential {
 public:
  Differential(Tier const& tier, u64 seed, x86::CodeSize code_size)
      : slots_{code_size == x86::CodeSize::bits16 ? slots16 : slots},
        sides_{tier},
        generator_{seed, code_size, sides_.model()} {}
  u64 batch_size() const { return slots_; }

  /// Runs one batch of programs on both sides; the text of what differs.
  std::vector<std::string> batch(u64 count);
  /// Runs these bytes as a program; what differs.
  std::string fixed(std::vector<u8> const& code);
  /// Encodings that no program has executed to its end.
  std::string never_completed() const;
  /// How many programs differed, by the instruction after which they did.
  std::map<std::string, u64> const& culprits() const { return culprits_; }

 private:
  std::string report(Case const& failed);

  u64 slots_;
  Sides sides_;
  Generator generator_;
  Scratch before_{};
  std::map<std::string, u64> culprits_;
  std::vector<bool> completed_ = std::vector<bool>(x86::table().size());
};

std::vector<std::string> Differential::batch(u64 count) {
  before_ = generator_.scratch();
  auto cases = std::vector<Case>{};
  for (auto i = u64{}; i < std::min(count, slots_); ++i)
    cases.push_back({.program = generator_.next(code_base + i * slot_bytes)});
  sides_.run(cases, before_);
  auto failures = std::vector<std::string>{};
  for (auto const& c : cases) {
    if (sides_.differs(c)) failures.push_back(report(c));
    if (!c.native.completed) continue;
    for (auto const& element : c.program.elements) completed_[element.row] = true;
  }
  return failures;
}

std::string Differential::never_completed() const {
  auto text = std::string{};
  for (auto const* row : generator_.rows()) {
    auto const number = static_cast<std::size_t>(row - x86::table().data());
    auto const undefined_opcode = name(row->operation).starts_with("ud");
    auto const may =
        !undefined_opcode && !row->has(x86::Attribute::privileged) && !row->has(x86::Attribute::io_privileged);
    if (may && !completed_[number])
      text += fmt::format("{} {:x} {:02x}\n", name(row->operation), row->map, row->opcode);
  }
  return text;
}

std::string Differential::fixed(std::vector<u8> const& code) {
  before_ = generator_.scratch();
  auto program = generator_.next(code_base);
  program.code = code;
  program.elements.clear();
  auto cases = std::vector<Case>{{.program = program}};
  sides_.run(cases, before_);
  return sides_.differs(cases[0]) ? report(cases[0]) : "";
}

std::string last_instruction(Program const& program) {
  auto insn = x86::Instruction{};
  auto const at = program.elements.empty() ? 0 : program.elements.back().instruction;
  x86::decode(std::span{program.code}.subspan(at), program.code_size, true, insn);
  auto const text = x86::disassemble(insn);
  return text.substr(0, text.find(' '));
}

/// Cuts the program down to the first element after which the sides differ.
std::string Differential::report(Case const& failed) {
  auto shown = failed;
  for (auto length = 1uz; length < failed.program.elements.size(); ++length) {
    auto const& last = failed.program.elements[length - 1];
    if (!last.may_end_here) continue;
    auto shorter = std::vector{failed};
    auto& program = shorter[0].program;
    program.elements.resize(length);
    program.code.resize(last.end);
    sides_.run(shorter, before_);
    if (!sides_.differs(shorter[0])) continue;
    shown = shorter[0];
    break;
  }
  if (++culprits_[last_instruction(shown.program)] > 1 || culprits_.size() > most_reports) return {};
  return sides_.text(shown, before_);
}

/// Programs that once differed.
std::vector<std::vector<u8>> regressions() {
  return {
      {0x48, 0xb9, 0, 0, 0, 0, 0x49, 0x07, 0xe5, 0xd8, 0x67, 0xf3,
       0xaa},  // rep stosb [edi], ECX 0: RCX, RDI cut
      {0x48, 0xb9, 0, 0, 0, 0, 0x49, 0x07, 0xe5, 0xd8, 0x67, 0xf3, 0xa4},  // the same for movsb
      {0x48, 0xb9, 0, 0, 0, 0, 0x49, 0x07, 0xe5, 0xd8, 0x67, 0xf2, 0xae},  // and scasb, where RDI stays
      // repne stosd [edi] that faults at once
      {0x48, 0xbf, 0, 0, 0, 0, 1, 0, 0, 0, 0x48, 0xb9, 7, 0, 0, 0, 1, 0, 0, 0, 0x67, 0xf2, 0xab},
      // mov rbp, 1 << 63; fxsave [rbp+1]: #SS, misaligned as it is
      {0x48, 0xbd, 0, 0, 0, 0, 0, 0, 0, 0x80, 0x0f, 0xae, 0x45, 1},
      // mov rbp, 1 << 63; cmpxchg16b [rbp+1]: #GP for its alignment, before #SS
      {0x48, 0xbd, 0, 0, 0, 0, 0, 0, 0, 0x80, 0x48, 0x0f, 0xc7, 0x4d, 1},
      // fninit; push 0x37e; fldcw [rsp] unmasks #IA; fistp [0] with an empty stack: no store, so no #PF
      {0xdb, 0xe3, 0x68, 0x7e, 0x03, 0, 0, 0xd9, 0x2c, 0x24, 0xdb, 0x1c, 0x25, 0, 0, 0, 0},
      // fninit; fld1; cvtpi2ps xmm0, [rsp]: stays out of MMX state
      {0xdb, 0xe3, 0xd9, 0xe8, 0x0f, 0x2a, 0x04, 0x24},
      // pushfq; or dword [rsp], 1 << 18; popfq; addsd xmm0, [rsp+4]: alignment is checked there, too
      {0x9c, 0x81, 0x0c, 0x24, 0, 0, 4, 0, 0x9d, 0xf2, 0x0f, 0x58, 0x44, 0x24, 4},
      // mov esi, 0x32342ff8; mov edi, esi; mov ecx, 100; test ecx, ecx; stc; repe cmpsb: equal up to the page
      // fault, which leaves the flags as they were
      {0xbe, 0xf8, 0x2f, 0x34, 0x32, 0x89, 0xf7, 0xb9, 100, 0, 0, 0, 0x85, 0xc9, 0xf9, 0xf3, 0xa6},
      // fninit; fld dword [rsp]: FDP stays
      {0xdb, 0xe3, 0xd9, 0x04, 0x24},
  };
}

class DifferentialTest : public testing::TestWithParam<Tier> {
 protected:
  void SetUp() override {
    if (auto const prepared = Native::prepare(); !prepared) GTEST_SKIP() << prepared.error().what();
  }
  static void compare_with_host(x86::CodeSize code_size, u64 default_cases);
};

void DifferentialTest::compare_with_host(x86::CodeSize code_size, u64 default_cases) {
  auto const seed = from_environment("VIREO_DIFFERENTIAL_SEED", usual_seed);
  auto const cases = from_environment("VIREO_DIFFERENTIAL_CASES", default_cases);
  auto differential = Differential{GetParam(), seed, code_size};
  auto different = u64{};
  for (auto done = u64{}; done < cases; done += differential.batch_size()) {
    for (auto const& failure : differential.batch(cases - done)) {
      ++different;
      if (!failure.empty()) ADD_FAILURE() << "seed " << seed << "\n" << failure;
    }
  }
  if (cases >= default_cases) {
    EXPECT_EQ(differential.never_completed(), "");
  }
  auto culprits = std::string{};
  for (auto const& [name, count] : differential.culprits()) culprits += fmt::format(" {} {}", name, count);
  EXPECT_EQ(different, 0u) << culprits << "\nof " << cases << " programs, seed " << seed;
  testing::Test::RecordProperty("seed", std::to_string(seed));
}

TEST_P(DifferentialTest, AgreesWhereItOnceDiffered) {
  auto differential = Differential{GetParam(), usual_seed, x86::CodeSize::bits64};
  for (auto const& code : regressions()) EXPECT_EQ(differential.fixed(code), "");
}

TEST_P(DifferentialTest, LeavesWhatTheHostLeavesIn64BitMode) {
  compare_with_host(x86::CodeSize::bits64, 110'000);
}

TEST_P(DifferentialTest, LeavesWhatTheHostLeavesIn16BitCode) {
  if (auto const prepared = Native::prepare16(); !prepared) GTEST_SKIP() << prepared.error().what();
  compare_with_host(x86::CodeSize::bits16, 50'000);
}

TEST_P(DifferentialTest, LeavesWhatTheHostLeavesInCompatibilityMode) {
  compare_with_host(x86::CodeSize::bits32, 80'000);
}

INSTANTIATE_TEST_SUITE_P(Tiers, DifferentialTest, testing::ValuesIn(tiers()),
                         [](auto const& tier) { return tier.param.name; });

}  // namespace
}  // namespace vireo::engine::soft::differential
