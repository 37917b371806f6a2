#include "engine/soft/translate/trace.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cstring>

#include "engine/soft/interp/trace.h"
#include "x86/decoder.h"
#include "x86/table.h"

namespace vireo::engine::soft::translate {

char const* name(ExitKind kind) {
  constexpr std::array names{"link", "slot",  "indirect", "interpret", "access",
                             "poll", "stale", "trap",     "interrupt"};
  return names[static_cast<u32>(kind)];
}

std::string guest_text(Block const& block, u64 linear, CodeMode const& mode) {
  auto bytes = std::array<u8, 2 * page_size>{};
  auto const& page = *block.page;
  std::memcpy(bytes.data(), page.host, page_size);
  if (page.second_host != nullptr) std::memcpy(bytes.data() + page_size, page.second_host, page_size);
  auto text = std::string{};
  for (auto at = u32{0}; at < block.length;) {
    auto insn = x86::Instruction{};
    auto const code = std::span{bytes}.subspan(block.start + at, 15);
    auto const decoded = x86::decode(code, mode.code_size, true, insn) == x86::DecodeStatus::ok;
    auto const length = std::max<u32>(insn.length, 1);
    auto line = fmt::format("  {:016x} ", linear + at);
    for (auto const byte : code.first(length)) line += fmt::format(" {:02x}", byte);
    line.resize(std::max<std::size_t>(line.size() + 1, 54), ' ');
    text += line + (decoded ? x86::disassemble(insn, linear + at) : "(bad)") + "\n";
    at += length;
  }
  return text;
}

std::string bytes_text(std::span<u8 const> code) {
  auto text = std::string{};
  for (auto at = std::size_t{0}; at < code.size(); at += 32) {
    text += fmt::format("  {:02x}\n",
                        fmt::join(code.subspan(at, std::min<std::size_t>(32, code.size() - at)), " "));
  }
  return text;
}

std::string compared_text(VcpuState const& before, VcpuState const& translated, VcpuState const& interpreted) {
  auto text = fmt::format("          {:<16}   {:<16}   {:<16}\n", "before", "translated", "interpreted");
  auto const row = [&](char const* what, u64 a, u64 b, u64 c) {
    text += fmt::format("  {:>6}  {:016x}   {:016x} {} {:016x}\n", what, a, b, b == c ? ' ' : '*', c);
  };
  for (auto i = u8{0}; i < 16; ++i) {
    row(register_name(i), before.gpr[i], translated.gpr[i], interpreted.gpr[i]);
  }
  row("rip", before.rip, translated.rip, interpreted.rip);
  row("rflags", before.rflags, translated.rflags, interpreted.rflags);
  auto const gs = x86::SegmentRegister::gs;
  row("gs", before.seg(gs).base, translated.seg(gs).base, interpreted.seg(gs).base);
  row("kernel", before.kernel_gs_base, translated.kernel_gs_base, interpreted.kernel_gs_base);
  return text;
}

std::string vectors_text(ExtendedState const& a, ExtendedState const& b) {
  auto text = std::string{};
  auto const row = [&](std::string const& what, auto const& left, auto const& right) {
    if (std::memcmp(&left, &right, sizeof left) == 0) return;
    auto const hex = [](auto const& value) {
      auto bytes = std::array<u8, sizeof value>{};
      std::memcpy(bytes.data(), &value, sizeof value);
      std::ranges::reverse(bytes);
      return fmt::format("{:02x}", fmt::join(bytes, ""));
    };
    text += fmt::format("  {:>6}  translated {} * interpreted {}\n", what, hex(left), hex(right));
  };
  row("fcw", a.fcw, b.fcw);
  row("fsw", a.fsw, b.fsw);
  row("ftw", a.ftw, b.ftw);
  row("mxcsr", a.mxcsr, b.mxcsr);
  for (auto i = 0u; i < 8; ++i) row(fmt::format("st{}", i), a.st[i], b.st[i]);
  for (auto i = 0u; i < 16; ++i) {
    row(fmt::format("xmm{}", i), a.xmm[i], b.xmm[i]);
    row(fmt::format("ymm{}h", i), a.ymm_high[i], b.ymm_high[i]);
  }
  return text;
}

}  // namespace vireo::engine::soft::translate
