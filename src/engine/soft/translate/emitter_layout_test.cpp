#include <fmt/format.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <bit>
#include <functional>

#include "engine/soft/translate/emitter.h"
#include "engine/soft/translate/test_zydis.h"

namespace vireo::engine::soft::translate {
namespace {

u32 size_of(std::function<void(Emitter&)> const& emit) {
  auto code = std::array<u8, 64>{};
  auto out = Emitter{code.data(), code.data(), code.size()};
  emit(out);
  return out.size();
}

TEST(Emitter, ChoosesTheShortestForm) {
  auto const load = [](Mem const& mem) {
    return size_of([=](Emitter& out) { out.load(Width::d, Reg::rax, mem); });
  };
  EXPECT_EQ(load({.base = Reg::rax}), 2);
  EXPECT_EQ(load({.base = Reg::rbp}), 3);
  EXPECT_EQ(load({.base = Reg::rsp}), 3);
  EXPECT_EQ(load({.base = Reg::rax, .disp = 127}), 3);
  EXPECT_EQ(load({.base = Reg::rax, .disp = 128}), 6);
  EXPECT_EQ(load({.base = Reg::r13, .index = Reg::r9}), 5);
  auto const immediate = [](u64 value) { return size_of([=](Emitter& out) { out.mov_imm(Reg::rdi, value); }); };
  EXPECT_EQ(immediate(0xffff'ffff), 5);
  EXPECT_EQ(immediate(0xffff'ffff'8000'0000), 7);
  EXPECT_EQ(immediate(0x1'0000'0000), 10);
  auto const add = [](i32 value) {
    return size_of([=](Emitter& out) { out.alu_imm(Alu::add, Width::d, Reg::rcx, value); });
  };
  EXPECT_EQ(add(-128), 3);
  EXPECT_EQ(add(128), 6);
}

struct Code {
  std::array<u8, 1024> bytes{};
  Emitter out{bytes.data(), bytes.data(), 1024};
  std::string text() const { return zydis_text(std::span{bytes}.first(out.size())); }
};

TEST(Emitter, PadsWithAsFewNopsAsPossible) {
  auto lengths = std::string{};
  for (auto count = 1u; count <= 20; ++count) {
    auto code = Code{};
    code.out.nop(count);
    EXPECT_EQ(code.out.size(), count);
    lengths += fmt::format("{} ", std::ranges::count(code.text(), '\n'));
    EXPECT_EQ(code.text().find("invalid"), std::string::npos);
  }
  EXPECT_EQ(lengths, "1 1 1 1 1 1 1 1 1 2 2 2 2 2 2 2 2 2 3 3 ");
}

TEST(Emitter, AlignsWhereTheCodeRuns) {
  auto bytes = std::array<u8, 64>{};
  auto const* runs_at = std::bit_cast<u8 const*>(u64{0x1003});
  auto out = Emitter{bytes.data(), runs_at, bytes.size()};
  out.align(16);
  EXPECT_EQ(out.here(), std::bit_cast<u8 const*>(u64{0x1010}));
  out.align(16);
  EXPECT_EQ(out.size(), 13);
}

TEST(Emitter, ResolvesForwardJumpsOfEveryKind) {
  auto code = Code{};
  auto label = Label{};
  code.out.jmp(label);
  code.out.jcc(Cond::e, label);
  code.out.call(label);
  code.out.lea(Reg::r9, label);
  code.out.jmp_short(label);
  code.out.jcc_short(Cond::g, label);
  code.out.jrcxz(label);
  code.out.bind(label);
  code.out.ret();
  EXPECT_EQ(code.text(),
            "jmp 0x1d\njz 0x1d\ncall 0x1d\nlea r9, [0x1d]\njmp 0x1d\njnle 0x1d\njrcxz 0x1d\nret\n");
  EXPECT_EQ(code.out.address(label), &code.bytes[0x1d]);
  EXPECT_FALSE(code.out.overflowed());
}

TEST(Emitter, JumpsBackInTheShortestForm) {
  auto code = Code{};
  auto label = Label{};
  code.out.bind(label);
  code.out.jmp(label);
  code.out.jcc(Cond::ne, label);
  code.out.call(label);
  code.out.lea(Reg::rax, label);
  code.out.jrcxz(label);
  code.out.nop(108);
  code.out.jmp(label);  // at 126: the last that reaches
  code.out.jmp(label);
  code.out.jcc(Cond::ne, label);
  EXPECT_EQ(code.bytes[126], 0xeb);
  EXPECT_EQ(code.bytes[128], 0xe9);
  auto const text = code.text();
  EXPECT_TRUE(text.starts_with("jmp 0x0\njnz 0x0\ncall 0x0\nlea rax, [0x0]\njrcxz 0x0\n"));
  EXPECT_TRUE(text.ends_with("\njmp 0x0\njmp 0x0\njnz 0x0\n"));
  EXPECT_FALSE(code.out.overflowed());
}

TEST(Emitter, JumpsToCodeElsewhere) {
  auto code = Code{};
  code.out.jmp(&code.bytes[0x100]);
  code.out.jcc(Cond::s, &code.bytes[0x100]);
  code.out.call(&code.bytes[0]);
  EXPECT_EQ(code.text(), "jmp 0x100\njs 0x100\ncall 0x0\n");
  EXPECT_FALSE(code.out.overflowed());
}

TEST(Emitter, SaysThatATargetIsOutOfReach) {
  auto bytes = std::array<u8, 64>{};
  auto const* runs_at = std::bit_cast<u8 const*>(u64{0x7000'0000'0000});
  auto out = Emitter{bytes.data(), runs_at, bytes.size()};
  auto const far_away = runs_at + 0x8000'0100;
  EXPECT_TRUE(out.reaches(runs_at + 0x7fff'0000));
  EXPECT_FALSE(out.reaches(far_away));
  EXPECT_FALSE(out.overflowed());
  out.jmp(far_away);
  EXPECT_TRUE(out.overflowed());
}

TEST(Emitter, SaysThatAShortJumpDoesNotReach) {
  auto code = Code{};
  auto near = Label{};
  auto far_away = Label{};
  code.out.jmp_short(near);
  code.out.nop(127);
  code.out.bind(near);
  EXPECT_FALSE(code.out.overflowed());
  code.out.jmp_short(far_away);
  code.out.nop(128);
  code.out.bind(far_away);
  EXPECT_TRUE(code.out.overflowed());
}

TEST(Emitter, WritesNothingBeyondItsCapacity) {
  auto bytes = std::array<u8, 128>{};
  bytes.fill(0xa5);
  auto out = Emitter{bytes.data(), bytes.data(), 100};
  auto label = Label{};
  for (auto i = 0; i < 50; ++i) {
    out.jmp(label);
    out.jcc_short(Cond::e, label);
    out.mov_imm(Reg::r8, ~u64{0} >> 1);
    out.nop(30);
    out.bytes(std::array<u8, 40>{}.data(), 40);
  }
  out.bind(label);
  EXPECT_TRUE(out.overflowed());
  EXPECT_LE(out.size(), 100);
  EXPECT_TRUE(std::all_of(bytes.begin() + 100, bytes.end(), [](u8 byte) { return byte == 0xa5; }));
}

TEST(Emitter, FillsItsCapacityUpToTheMargin) {
  auto bytes = std::array<u8, 100>{};
  auto out = Emitter{bytes.data(), bytes.data(), 100};
  for (auto i = 0u; i <= 100 - Emitter::margin; ++i) out.ret();
  EXPECT_FALSE(out.overflowed());
  out.ret();
  EXPECT_TRUE(out.overflowed());
}

TEST(Emitter, OverflowsAtOnceWithoutCapacity) {
  auto out = Emitter{nullptr, nullptr, Emitter::margin - 1};
  auto label = Label{};
  out.jmp(label);
  out.bind(label);
  EXPECT_TRUE(out.overflowed());
}

TEST(Emitter, WritesRawData) {
  auto code = Code{};
  auto const data = std::array<u8, 70>{1, 2, 3};
  code.out.byte(0x11);
  code.out.dword(0x22334455);
  code.out.qword(0x66778899aabbccdd);
  code.out.bytes(data.data(), data.size());
  EXPECT_EQ(code.out.size(), 83);
  EXPECT_EQ(code.bytes[1], 0x55);
  EXPECT_EQ(code.bytes[12], 0x66);
  EXPECT_TRUE(std::equal(data.begin(), data.end(), code.bytes.begin() + 13));
}

}  // namespace
}  // namespace vireo::engine::soft::translate
