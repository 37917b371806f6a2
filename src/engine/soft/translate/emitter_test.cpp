#include "engine/soft/translate/emitter.h"

#include <fmt/format.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <functional>
#include <vector>

#include "engine/soft/translate/test_zydis.h"

namespace vireo::engine::soft::translate {
namespace {

constexpr std::array widths{Width::b, Width::w, Width::d, Width::q};
constexpr std::array wide_widths{Width::w, Width::d, Width::q};
constexpr std::array widest_widths{Width::d, Width::q};
constexpr std::array<std::string_view, 8> alu_names{"add", "or", "adc", "sbb", "and", "sub", "xor", "cmp"};
constexpr std::array<std::string_view, 8> shift_names{"rol", "ror", "rcl", "rcr", "shl", "shr", "", "sar"};
constexpr std::array<std::string_view, 16> condition_names{"o", "no", "b", "nb", "z", "nz", "be", "nbe",
                                                           "s", "ns", "p", "np", "l", "nl", "le", "nle"};
constexpr std::array<i32, 7> immediates{0, 1, 127, -1, -128, 128, 0x12345678};
constexpr std::array<i32, 6> displacements{0, 1, -128, 127, 128, -0x12345678};

std::vector<Reg> registers() {
  auto all = std::vector<Reg>{};
  for (auto i = 0; i < 16; ++i) all.push_back(static_cast<Reg>(i));
  return all;
}

std::string text(Reg reg, Width width) {
  static constexpr std::array<std::string_view, 8> legacy{"ax", "cx", "dx", "bx", "sp", "bp", "si", "di"};
  static constexpr std::array<std::string_view, 8> bytes{"al", "cl", "dl", "bl", "spl", "bpl", "sil", "dil"};
  auto const number = static_cast<unsigned>(reg);
  if (number >= 8)
    return fmt::format("r{}{}", number,
                       width == Width::q   ? ""
                       : width == Width::d ? "d"
                       : width == Width::w ? "w"
                                           : "b");
  if (width == Width::b) return std::string{bytes[number]};
  return fmt::format("{}{}", width == Width::q ? "r" : width == Width::d ? "e" : "", legacy[number]);
}

std::string hex(i64 value) { return value < 0 ? fmt::format("-{:#x}", -value) : fmt::format("{:#x}", value); }

std::string address(Mem const& mem) {
  auto out = mem.base == Reg::none ? std::string{} : text(mem.base, Width::q);
  if (mem.index != Reg::none)
    out += fmt::format("{}{}*{}", out.empty() ? "" : "+", text(mem.index, Width::q), mem.scale);
  if (out.empty())  // absolute
    return fmt::format("{}[{:#x}]", mem.gs ? "gs:" : "", static_cast<u64>(i64{mem.disp}));
  if (mem.disp != 0) out += (mem.disp < 0 ? "" : "+") + hex(mem.disp);
  return fmt::format("{}[{}]", mem.gs ? "gs:" : "", out);
}
std::string text(Mem const& mem, Width width) {
  auto const size = width == Width::b   ? "byte"
                    : width == Width::w ? "word"
                    : width == Width::d ? "dword"
                                        : "qword";
  return fmt::format("{} ptr {}", size, address(mem));
}

/// As Zydis writes an immediate: without a sign, of the operand's width.
std::string text(i32 value, Width width) {
  auto const bits = 8 * static_cast<unsigned>(width);
  return fmt::format("{:#x}", static_cast<u64>(i64{value}) & (bits == 64 ? ~u64{0} : (u64{1} << bits) - 1));
}

/// Expects the code of `emit` to read `expected`, and collects what does not.
class Listing {
 public:
  void expect(std::string const& expected, std::function<void(Emitter&)> const& emit) {
    auto code = std::array<u8, 64>{};
    auto out = Emitter{code.data(), code.data(), code.size()};
    emit(out);
    auto const got = zydis_text(std::span{code}.first(out.size()));
    ++count_;
    if (got != expected + "\n" && wrong_.size() < 1000)
      wrong_ += fmt::format("{} instead of {}\n", got, expected);
  }
  std::string wrong() const { return count_ == 0 ? "nothing was looked at" : wrong_; }

 private:
  std::string wrong_;
  int count_{};
};

std::vector<Mem> memory_operands() {
  auto all = std::vector<Mem>{};
  for (auto const gs : {false, true}) {
    for (auto const disp : displacements) {
      all.push_back({.disp = disp, .gs = gs});
      for (auto const base : registers()) {
        all.push_back({.base = base, .disp = disp, .gs = gs});
        for (auto const index : registers()) {
          if (index == Reg::rsp) continue;
          for (auto const scale : {1, 2, 4, 8})
            all.push_back(
                {.base = base, .index = index, .scale = static_cast<u8>(scale), .disp = disp, .gs = gs});
        }
      }
      for (auto const index : registers())
        if (index != Reg::rsp) all.push_back({.index = index, .scale = 8, .disp = disp, .gs = gs});
    }
  }
  return all;
}

/// A few of each kind.
std::vector<Mem> some_memory_operands() {
  return {{.base = Reg::rax},
          {.base = Reg::rsp, .disp = 8},
          {.base = Reg::rbp},
          {.base = Reg::r12, .index = Reg::r9, .scale = 4, .disp = -4, .gs = true},
          {.base = Reg::r13, .disp = 0x12345},
          {.disp = 0x7000, .gs = true}};
}

TEST(Emitter, AddressesWithEveryBaseIndexScaleAndDisplacement) {
  auto listing = Listing{};
  for (auto const& mem : memory_operands())
    listing.expect("mov rcx, " + text(mem, Width::q), [&](Emitter& out) { out.load(Width::q, Reg::rcx, mem); });
  EXPECT_EQ(listing.wrong(), "");
}

TEST(Emitter, MovesBetweenAllRegistersOfAllWidths) {
  auto listing = Listing{};
  for (auto const width : widths) {
    for (auto const a : registers()) {
      for (auto const b : registers()) {
        auto const operands = text(a, width) + ", " + text(b, width);
        listing.expect("mov " + operands, [&](Emitter& out) { out.mov(width, a, b); });
        listing.expect("xchg " + operands, [&](Emitter& out) { out.xchg(width, a, b); });
        listing.expect("test " + operands, [&](Emitter& out) { out.test(width, a, b); });
      }
    }
  }
  EXPECT_EQ(listing.wrong(), "");
}

TEST(Emitter, MovesToAndFromMemory) {
  auto listing = Listing{};
  for (auto const width : widths) {
    for (auto const reg : registers()) {
      for (auto const& mem : some_memory_operands()) {
        auto const to = text(reg, width) + ", " + text(mem, width);
        auto const from = text(mem, width) + ", " + text(reg, width);
        listing.expect("mov " + to, [&](Emitter& out) { out.load(width, reg, mem); });
        listing.expect("mov " + from, [&](Emitter& out) { out.store(width, mem, reg); });
        listing.expect("xchg " + from, [&](Emitter& out) { out.xchg(width, mem, reg); });
        listing.expect("test " + from, [&](Emitter& out) { out.test(width, mem, reg); });
      }
    }
  }
  EXPECT_EQ(listing.wrong(), "");
}

TEST(Emitter, ExtendsTo64Bits) {
  auto listing = Listing{};
  auto const q = Width::q;
  for (auto const to : registers()) {
    for (auto const& mem : some_memory_operands()) {
      auto const zero = [&](Width from) { return [&, from](Emitter& out) { out.load_zx(from, to, mem); }; };
      auto const sign = [&](Width from) { return [&, from](Emitter& out) { out.load_sx(from, to, mem); }; };
      listing.expect("movzx " + text(to, Width::d) + ", " + text(mem, Width::b), zero(Width::b));
      listing.expect("movzx " + text(to, Width::d) + ", " + text(mem, Width::w), zero(Width::w));
      listing.expect("mov " + text(to, Width::d) + ", " + text(mem, Width::d), zero(Width::d));
      listing.expect("mov " + text(to, q) + ", " + text(mem, q), zero(q));
      listing.expect("movsx " + text(to, q) + ", " + text(mem, Width::b), sign(Width::b));
      listing.expect("movsx " + text(to, q) + ", " + text(mem, Width::w), sign(Width::w));
      listing.expect("movsxd " + text(to, q) + ", " + text(mem, Width::d), sign(Width::d));
      listing.expect("mov " + text(to, q) + ", " + text(mem, q), sign(q));
    }
    for (auto const reg : registers()) {
      auto const zero = [&](Width from) { return [&, from](Emitter& out) { out.movzx(from, to, reg); }; };
      auto const sign = [&](Width from) { return [&, from](Emitter& out) { out.movsx(from, to, reg); }; };
      listing.expect("movzx " + text(to, Width::d) + ", " + text(reg, Width::b), zero(Width::b));
      listing.expect("movzx " + text(to, Width::d) + ", " + text(reg, Width::w), zero(Width::w));
      listing.expect("mov " + text(to, Width::d) + ", " + text(reg, Width::d), zero(Width::d));
      listing.expect("mov " + text(to, q) + ", " + text(reg, q), zero(q));
      listing.expect("movsx " + text(to, q) + ", " + text(reg, Width::b), sign(Width::b));
      listing.expect("movsx " + text(to, q) + ", " + text(reg, Width::w), sign(Width::w));
      listing.expect("movsxd " + text(to, q) + ", " + text(reg, Width::d), sign(Width::d));
      listing.expect("mov " + text(to, q) + ", " + text(reg, q), sign(q));
    }
  }
  EXPECT_EQ(listing.wrong(), "");
}

TEST(Emitter, LoadsImmediatesOf64Bits) {
  auto listing = Listing{};
  for (auto const reg : registers()) {
    auto const load = [&](u64 value) { return [=](Emitter& out) { out.mov_imm(reg, value); }; };
    listing.expect("mov " + text(reg, Width::d) + ", 0x0", load(0));
    listing.expect("mov " + text(reg, Width::d) + ", 0xffffffff", load(0xffff'ffff));
    listing.expect("mov " + text(reg, Width::q) + ", 0xffffffff80000000", load(0xffff'ffff'8000'0000));
    listing.expect("mov " + text(reg, Width::q) + ", 0x100000000", load(0x1'0000'0000));
    listing.expect("mov " + text(reg, Width::q) + ", 0xffffffff7fffffff", load(0xffff'ffff'7fff'ffff));
  }
  EXPECT_EQ(listing.wrong(), "");
}

TEST(Emitter, ComputesBetweenRegistersAndMemory) {
  auto listing = Listing{};
  for (auto i = 0u; i < alu_names.size(); ++i) {
    auto const op = static_cast<Alu>(i);
    auto const name = std::string{alu_names[i]} + " ";
    for (auto const width : widths) {
      for (auto const reg : registers()) {
        for (auto const other : registers())
          listing.expect(name + text(reg, width) + ", " + text(other, width),
                         [&](Emitter& out) { out.alu(op, width, reg, other); });
        for (auto const& mem : some_memory_operands()) {
          listing.expect(name + text(reg, width) + ", " + text(mem, width),
                         [&](Emitter& out) { out.alu(op, width, reg, mem); });
          listing.expect(name + text(mem, width) + ", " + text(reg, width),
                         [&](Emitter& out) { out.alu(op, width, mem, reg); });
        }
      }
    }
  }
  EXPECT_EQ(listing.wrong(), "");
}

TEST(Emitter, ComputesWithImmediates) {
  auto listing = Listing{};
  for (auto const width : widths) {
    for (auto const value : immediates) {
      for (auto i = 0u; i < alu_names.size(); ++i) {
        auto const op = static_cast<Alu>(i);
        auto const name = std::string{alu_names[i]} + " ";
        for (auto const reg : registers())
          listing.expect(name + text(reg, width) + ", " + text(value, width),
                         [&](Emitter& out) { out.alu_imm(op, width, reg, value); });
        for (auto const& mem : some_memory_operands())
          listing.expect(name + text(mem, width) + ", " + text(value, width),
                         [&](Emitter& out) { out.alu_imm(op, width, mem, value); });
      }
      for (auto const reg : registers())
        listing.expect("test " + text(reg, width) + ", " + text(value, width),
                       [&](Emitter& out) { out.test_imm(width, reg, value); });
      for (auto const& mem : some_memory_operands()) {
        listing.expect("test " + text(mem, width) + ", " + text(value, width),
                       [&](Emitter& out) { out.test_imm(width, mem, value); });
        listing.expect("mov " + text(mem, width) + ", " + text(value, width),
                       [&](Emitter& out) { out.store_imm(width, mem, value); });
      }
    }
  }
  EXPECT_EQ(listing.wrong(), "");
}

TEST(Emitter, ShiftsAndNegates) {
  auto listing = Listing{};
  for (auto const width : widths) {
    for (auto const reg : registers()) {
      for (auto const op :
           {Shift::rol, Shift::ror, Shift::rcl, Shift::rcr, Shift::shl, Shift::shr, Shift::sar}) {
        auto const name = std::string{shift_names[static_cast<u8>(op)]} + " " + text(reg, width) + ", ";
        listing.expect(name + "0x1", [&](Emitter& out) { out.shift_imm(op, width, reg, 1); });
        listing.expect(name + "0x7", [&](Emitter& out) { out.shift_imm(op, width, reg, 7); });
        listing.expect(name + "cl", [&](Emitter& out) { out.shift_cl(op, width, reg); });
      }
      listing.expect("not " + text(reg, width), [&](Emitter& out) { out.not_(width, reg); });
      listing.expect("neg " + text(reg, width), [&](Emitter& out) { out.neg(width, reg); });
    }
  }
  EXPECT_EQ(listing.wrong(), "");
}

TEST(Emitter, MultipliesTestsBitsAndMovesOnConditions) {
  auto listing = Listing{};
  for (auto const width : wide_widths) {
    for (auto const a : registers()) {
      for (auto const b : registers()) {
        auto const operands = text(a, width) + ", " + text(b, width);
        listing.expect("imul " + operands, [&](Emitter& out) { out.imul(width, a, b); });
        for (auto i = 0u; i < condition_names.size(); ++i)
          listing.expect(fmt::format("cmov{} {}", condition_names[i], operands),
                         [&](Emitter& out) { out.cmov(static_cast<Cond>(i), width, a, b); });
      }
      listing.expect("bt " + text(a, width) + ", 0xb", [&](Emitter& out) { out.bt_imm(width, a, 11); });
      for (auto const& mem : some_memory_operands()) {
        listing.expect("bt " + text(mem, width) + ", 0xb", [&](Emitter& out) { out.bt_imm(width, mem, 11); });
        listing.expect("cmovnz " + text(a, width) + ", " + text(mem, width),
                       [&](Emitter& out) { out.cmov(Cond::ne, width, a, mem); });
        listing.expect("lea " + text(a, width) + ", " + address({mem.base, mem.index, mem.scale, mem.disp}),
                       [&](Emitter& out) { out.lea(width, a, {mem.base, mem.index, mem.scale, mem.disp}); });
      }
    }
  }
  EXPECT_EQ(listing.wrong(), "");
}

TEST(Emitter, ComputesWithoutFlags) {
  auto listing = Listing{};
  for (auto const width : widest_widths) {
    for (auto const a : registers()) {
      listing.expect("bswap " + text(a, width), [&](Emitter& out) { out.bswap(width, a); });
      for (auto const b : registers()) {
        listing.expect("rorx " + text(a, width) + ", " + text(b, width) + ", 0x9",
                       [&](Emitter& out) { out.rorx(width, a, b, 9); });
        for (auto const c : registers()) {
          auto const operands = text(a, width) + ", " + text(b, width) + ", " + text(c, width);
          listing.expect("shlx " + operands, [&](Emitter& out) { out.shlx(width, a, b, c); });
          listing.expect("shrx " + operands, [&](Emitter& out) { out.shrx(width, a, b, c); });
          listing.expect("sarx " + operands, [&](Emitter& out) { out.sarx(width, a, b, c); });
        }
      }
    }
  }
  EXPECT_EQ(listing.wrong(), "");
}

TEST(Emitter, ExtractsBits) {
  auto listing = Listing{};
  auto const q = Width::q;
  for (auto const a : registers()) {
    for (auto const b : registers()) {
      auto const operands = text(a, q) + ", " + text(b, q) + ", ";
      for (auto const c : registers())
        listing.expect("pext " + operands + text(c, q), [&](Emitter& out) { out.pext(a, b, c); });
      for (auto const& mem : some_memory_operands())
        listing.expect("pext " + operands + text(mem, q), [&](Emitter& out) { out.pext(a, b, mem); });
    }
  }
  EXPECT_EQ(listing.wrong(), "");
}

TEST(Emitter, PushesPopsJumpsAndCallsThroughRegistersAndMemory) {
  auto listing = Listing{};
  auto const q = Width::q;
  for (auto const reg : registers()) {
    listing.expect("push " + text(reg, q), [&](Emitter& out) { out.push(reg); });
    listing.expect("pop " + text(reg, q), [&](Emitter& out) { out.pop(reg); });
    listing.expect("jmp " + text(reg, q), [&](Emitter& out) { out.jmp(reg); });
    listing.expect("call " + text(reg, q), [&](Emitter& out) { out.call(reg); });
  }
  for (auto const& mem : some_memory_operands()) {
    listing.expect("push " + text(mem, q), [&](Emitter& out) { out.push(mem); });
    listing.expect("pop " + text(mem, q), [&](Emitter& out) { out.pop(mem); });
    listing.expect("jmp " + text(mem, q), [&](Emitter& out) { out.jmp(mem); });
    listing.expect("call " + text(mem, q), [&](Emitter& out) { out.call(mem); });
  }
  listing.expect("push 0x7f", [](Emitter& out) { out.push_imm(127); });
  listing.expect("push 0xffffffffffffff7f", [](Emitter& out) { out.push_imm(-129); });
  EXPECT_EQ(listing.wrong(), "");
}

TEST(Emitter, SetsBytesOnConditions) {
  auto listing = Listing{};
  for (auto i = 0u; i < condition_names.size(); ++i) {
    auto const cond = static_cast<Cond>(i);
    auto const name = fmt::format("set{} ", condition_names[i]);
    for (auto const reg : registers())
      listing.expect(name + text(reg, Width::b), [&](Emitter& out) { out.setcc(cond, reg); });
    for (auto const& mem : some_memory_operands())
      listing.expect(name + text(mem, Width::b), [&](Emitter& out) { out.setcc(cond, mem); });
  }
  EXPECT_EQ(listing.wrong(), "");
}

TEST(Emitter, WritesInstructionsWithoutOperands) {
  auto listing = Listing{};
  listing.expect("pushfq\npopfq\nlahf\nsahf\nclc\nstc\ncmc\ncld\nstd\nret\nud2\nint3", [](Emitter& out) {
    out.pushfq(), out.popfq(), out.lahf(), out.sahf(), out.clc(), out.stc(), out.cmc(), out.cld(), out.std();
    out.ret(), out.ud2(), out.int3();
  });
  EXPECT_EQ(listing.wrong(), "");
}

}  // namespace
}  // namespace vireo::engine::soft::translate
