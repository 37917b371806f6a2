#include "engine/soft/interp/trace.h"

#include <fmt/format.h>

#include <cstdio>

#include "engine/soft/interp/block_cache.h"
#include "x86/decoder.h"
#include "x86/table.h"

namespace vireo::engine::soft {
namespace {

std::string instruction_text(Cpu const& cpu, u64 rip, u8 const* code, u32 length) {
  auto insn = x86::Instruction{};
  auto const status = x86::decode({code, length}, cpu.code_size(), cpu.protected_mode(), insn);
  auto text = fmt::format("{:016x} ", rip);
  for (auto i = 0u; i < length && i < insn.length; ++i) text += fmt::format(" {:02x}", code[i]);
  if (text.size() < 56) text.resize(56, ' ');
  return text + (status == x86::DecodeStatus::ok ? x86::disassemble(insn, rip) : "(bad)");
}

}  // namespace

char const* register_name(u8 gpr) {
  constexpr char const* names[]{"rax", "rcx", "rdx", "rbx", "rsp", "rbp", "rsi", "rdi",
                                "r8",  "r9",  "r10", "r11", "r12", "r13", "r14", "r15"};
  return names[gpr];
}

std::string registers_text(VcpuState const& s) {
  auto text = std::string{};
  for (auto i = u8{0}; i < 16; ++i) {
    text += fmt::format("{:>4}={:016x}{}", register_name(i), s.gpr[i], i % 4 == 3 ? "\n" : "");
  }
  return text + fmt::format(" rip={:016x} rflags={:08x}\n", s.rip, s.rflags);
}

void trace_block(Cpu const& cpu, u64 rip, u8 const* code, Block const& block) {
  auto text = trace() & trace_registers ? registers_text(cpu.state) : std::string{};
  auto at = 0u;
  for (auto i = 0u; i < block.step_count; ++i) {
    auto const length = block.steps()[i].length;
    text += fmt::format("[{}] {}\n", cpu.id().value, instruction_text(cpu, rip + at, code + at, length));
    at += length;
  }
  std::fputs(text.c_str(), stderr);
}

void trace_exception(Cpu const& cpu, Fault const& fault) {
  std::fputs(fmt::format("[{}] exception {} error {:#x} address {:#x} at {:04x}:{:#x} cpl {} rsp {:#x}\n",
                         cpu.id().value, static_cast<u8>(fault.vector), fault.error_code, fault.address,
                         cpu.state.cs().selector, cpu.state.rip, cpu.cpl(), cpu.state.gpr[x86::rsp])
                 .c_str(),
             stderr);
}

std::string describe(Cpu& cpu) {
  auto const& s = cpu.state;
  constexpr char const* names[]{"es", "cs", "ss", "ds", "fs", "gs"};
  auto text = registers_text(s);
  auto const segment = [&](char const* name, Segment const& seg) {
    text += fmt::format("{:>4}={:04x} base {:016x} limit {:08x} attributes {:04x}\n", name, seg.selector,
                        seg.base, seg.limit, seg.attributes);
  };
  for (auto i = 0u; i < 6; ++i) segment(names[i], s.segment[i]);
  segment("ldtr", s.ldtr);
  segment("tr", s.tr);
  text += fmt::format("gdtr={:016x}:{:04x} idtr={:016x}:{:04x}\n", s.gdtr.base, s.gdtr.limit, s.idtr.base,
                      s.idtr.limit);
  text +=
      fmt::format("cr0={:x} cr2={:x} cr3={:x} cr4={:x} efer={:x} cpl={} activity={} instructions={}\n", s.cr0,
                  s.cr2, s.cr3, s.cr4, s.efer, cpu.cpl(), static_cast<u8>(s.activity), cpu.instructions);
  try {
    auto const code = cpu.code_at(cpu.code_address());
    if (code.host != nullptr)
      text += instruction_text(cpu, s.rip, code.host, std::min(code.length, 15u)) + "\n";
  } catch (Fault const&) {
    text += "(the code at RIP is not mapped)\n";
  }
  return text;
}

}  // namespace vireo::engine::soft
