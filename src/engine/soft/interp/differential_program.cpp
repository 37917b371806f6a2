#include "engine/soft/interp/differential_program.h"

#include <fmt/format.h>

#include <algorithm>
#include <cstring>
#include <random>

#include "vocab/bytes.h"
#include "x86/decoder.h"
#include "x86/table.h"

namespace vireo::engine::soft::differential {
namespace {

constexpr std::array<std::string_view, 16> gpr_names{"rax", "rcx", "rdx", "rbx", "rsp", "rbp", "rsi", "rdi",
                                                     "r8",  "r9",  "r10", "r11", "r12", "r13", "r14", "r15"};
/// RF is in the image that an exception pushes; the fixed and interrupt flags are the operating system's.
constexpr u64 compared_flags{x86::arithmetic_flags | x86::flag_df | x86::flag_tf | x86::flag_ac | x86::flag_nt |
                             x86::flag_id};
/// Linux shows every fault beyond the last user page as a protection violation.
constexpr u64 user_end{0x7fff'ffff'f000};
constexpr u8 nop{0x90};

u64 flags_compared(Outcome const& outcome, Tolerance const& tolerance) {
  return outcome.registers.rflags & compared_flags & ~u64{tolerance.flags};
}

u64 address(Outcome const& outcome, Tolerance const& tolerance) {
  return tolerance.which_page ? 0 : outcome.address;
}

u8 vector(Outcome const& outcome, Tolerance const& tolerance) {
  auto const access = outcome.vector >= 12 && outcome.vector <= 14;
  return tolerance.which_page && access ? u8{14} : outcome.vector;
}

u32 error_code(Outcome const& outcome, Tolerance const& tolerance) {
  if (tolerance.which_page) return 0;
  auto const unknown = outcome.vector == 14 && outcome.address >= user_end;
  return outcome.error_code | (unknown ? u32{x86::pf_present} : 0);
}

u64 half(u8 const* bytes, int which) { return load_le<u64>(bytes + which * 8); }

class Table {
 public:
  explicit Table(bool only_differences) : only_differences_{only_differences} {}
  void row(std::string_view what, u64 before, u64 native, u64 emulated) {
    auto const differs = native != emulated;
    differences_ |= differs;
    if (only_differences_ && !differs && before == native) return;
    text_ += fmt::format("{} {:12} {:016x} -> {:016x} {}\n", differs ? '!' : ' ', what, before, native,
                         differs ? fmt::format("{:016x}", emulated) : "");
  }
  bool differences() const { return differences_; }
  std::string const& text() const { return text_; }

 private:
  bool only_differences_, differences_{};
  std::string text_;
};

void compare(Table& table, Registers const& before, Outcome const& native, Outcome const& emulated,
             Tolerance const& tolerated) {
  auto const& a = native.registers;
  auto const& b = emulated.registers;
  table.row("completed", 1, native.completed, emulated.completed);
  table.row("vector", 0, vector(native, tolerated), vector(emulated, tolerated));
  table.row("error code", 0, error_code(native, tolerated), error_code(emulated, tolerated));
  table.row("cr2", 0, address(native, tolerated), address(emulated, tolerated));
  table.row("rip", before.rip, a.rip, b.rip);
  table.row("rflags", before.rflags, flags_compared(native, tolerated), flags_compared(emulated, tolerated));
  for (auto i = 0uz; i < 16; ++i) table.row(gpr_names[i], before.gpr[i], a.gpr[i], b.gpr[i]);
  table.row("fs base", before.fs_base, a.fs_base, b.fs_base);
  table.row("gs base", before.gs_base, a.gs_base, b.gs_base);
  auto const& v = before.extended;
  auto const& x = a.extended;
  auto const& y = b.extended;
  table.row("mxcsr", v.mxcsr, x.mxcsr, y.mxcsr);
  table.row("fcw", v.fcw, x.fcw, y.fcw);
  table.row("fsw", v.fsw, x.fsw, y.fsw);
  table.row("ftw", v.ftw, x.ftw, y.ftw);
  table.row("fop", v.fop, x.fop, y.fop);
  table.row("fip", v.fip, x.fip, y.fip);
  table.row("fdp", v.fdp, x.fdp, y.fdp);
  for (auto i = 0; i < 8; ++i) {
    table.row(fmt::format("st{} low", i), half(v.st[i].bytes, 0), half(x.st[i].bytes, 0),
              half(y.st[i].bytes, 0));
    table.row(fmt::format("st{} high", i), half(v.st[i].bytes, 1) & 0xffff, half(x.st[i].bytes, 1) & 0xffff,
              half(y.st[i].bytes, 1) & 0xffff);
  }
  for (auto i = 0; i < 16; ++i) {
    for (auto part = 0; part < 2; ++part)
      table.row(fmt::format("xmm{}.{}", i, part), half(v.xmm[i].bytes, part), half(x.xmm[i].bytes, part),
                half(y.xmm[i].bytes, part));
    for (auto part = 0; part < 2; ++part) {
      table.row(fmt::format("ymm{}.{}", i, part + 2), half(v.ymm_high[i].bytes, part),
                half(x.ymm_high[i].bytes, part), half(y.ymm_high[i].bytes, part));
    }
  }
}

}  // namespace

Tolerance tolerance(Program const& program, Outcome const& native) {
  auto result = Tolerance{};
  auto before = u32{};
  auto const inside = native.registers.rip - program.rip() <= program.code.size();
  for (auto const& element : program.elements) {
    if (inside && native.registers.rip <= program.rip() + element.instruction) break;
    before = element.undefined_flags | (inside ? 0 : before);
  }
  result.flags = before | program.undefined_flags;
  if (native.completed) return result;
  auto insn = x86::Instruction{};
  auto const offset = native.registers.rip - program.rip();
  if (offset >= program.code.size()) return result;
  auto const code = std::span{program.code}.subspan(offset);
  if (x86::decode(code, program.code_size, true, insn) != x86::DecodeStatus::ok) return result;
  auto const& row = x86::row_of(insn);
  auto const mask = insn.operation == x86::Operation::maskmovdqu || insn.operation == x86::Operation::maskmovq;
  auto const masked =
      name(insn.operation).starts_with("vmaskmov") || name(insn.operation).starts_with("vpmaskmov");
  result.x87 = row.file == x86::RegisterFile::mmx;
  result.vectors = insn.memory.vector_index != x86::no_register;
  auto const& operands = insn.operands;
  auto const wide = std::ranges::any_of(operands, [](auto const& o) {
    return o.kind == x86::OperandKind::memory && (o.size == 0 || o.size > 32 || o.size == 28 || o.size == 14);
  });
  result.which_page = mask || masked || wide;
  return result;
}

bool same(Outcome const& native, Outcome const& emulated, Tolerance const& tolerated) {
  auto const& a = native.registers;
  auto const& b = emulated.registers;
  auto const& x = a.extended;
  auto const& y = b.extended;
  if (native.completed != emulated.completed || vector(native, tolerated) != vector(emulated, tolerated) ||
      error_code(native, tolerated) != error_code(emulated, tolerated) ||
      address(native, tolerated) != address(emulated, tolerated) || a.rip != b.rip ||
      flags_compared(native, tolerated) != flags_compared(emulated, tolerated) || a.gpr != b.gpr ||
      a.fs_base != b.fs_base || a.gs_base != b.gs_base)
    return false;
  if (x.mxcsr != y.mxcsr) return false;
  auto const vectors = std::memcmp(&x.xmm, &y.xmm, sizeof x.xmm) == 0 &&
                       std::memcmp(&x.ymm_high, &y.ymm_high, sizeof x.ymm_high) == 0;
  if (!vectors && !tolerated.vectors) return false;
  if (tolerated.x87) return true;
  if (x.fcw != y.fcw || x.fsw != y.fsw || x.ftw != y.ftw || x.fop != y.fop || x.fip != y.fip || x.fdp != y.fdp)
    return false;
  return std::ranges::all_of(std::array{0, 1, 2, 3, 4, 5, 6, 7},
                             [&](int i) { return std::memcmp(x.st[i].bytes, y.st[i].bytes, 10) == 0; });
}

std::string listing(Program const& program) {
  auto text = std::string{};
  auto const code = std::span{program.code};
  for (auto at = 0uz; at < code.size();) {
    auto const others = std::ranges::find_if(code.subspan(at), [](u8 byte) { return byte != nop; });
    auto const nops = static_cast<std::size_t>(others - code.subspan(at).begin());
    if (nops > 1) {
      text += fmt::format("  {:x}: {} times nop\n", program.rip() + at, nops);
      at += nops;
      continue;
    }
    auto insn = x86::Instruction{};
    auto const status = x86::decode(code.subspan(at), program.code_size, true, insn);
    auto const length = std::max<std::size_t>(insn.length, 1);
    auto bytes = std::string{};
    for (auto const byte : code.subspan(at, std::min(length, code.size() - at)))
      bytes += fmt::format("{:02x} ", byte);
    auto const marked =
        std::ranges::any_of(program.elements, [&](Element const& e) { return e.instruction == at; });
    text +=
        fmt::format("{} {:x}: {:46} {}\n", marked ? '>' : ' ', program.rip() + at, bytes,
                    status == x86::DecodeStatus::ok ? x86::disassemble(insn, program.rip() + at) : "(invalid)");
    at += length;
  }
  return text;
}

std::string comparison(Program const& program, Outcome const& native, Outcome const& emulated,
                       Tolerance const& tolerated) {
  auto table = Table{true};
  auto initial = program.initial;
  initial.rip = program.rip();
  compare(table, initial, native, emulated, tolerated);
  return "  register     before           -> native           emulated\n" + table.text();
}

std::array<u8, scratch_bytes - writable_bytes> const& operand_tables() {
  static auto const instance = [] {
    auto page = std::array<u8, scratch_bytes - writable_bytes>{};
    auto random = std::mt19937_64{7};
    auto const small = [&] { return static_cast<i64>(random() % 401) - 200; };
    auto const at = [&](u64 offset) { return page.data() + (offset - writable_bytes); };
    for (auto i = 0u; i < 256; ++i) store_le<i32>(at(dword_indices + i * 4), static_cast<i32>(small()));
    for (auto i = 0u; i < 128; ++i) store_le<i64>(at(qword_indices + i * 8), small());
    for (auto i = 0u; i < 256; ++i)
      store_le<u32>(at(masks + i * 4), i < 32 ? 0xffff'ffff : static_cast<u32>(random()));
    return page;
  }();
  return instance;
}

}  // namespace vireo::engine::soft::differential
