#include <setjmp.h>
#include <signal.h>
#include <sys/mman.h>
#include <ucontext.h>

#include <stdexcept>

#include "engine/soft/interp/families.h"
#include "engine/soft/interp/vector/assembler.h"
#include "engine/soft/interp/vector/native_test_kit.h"

namespace vireo::engine::soft::vector {
namespace {

constexpr u64 exchange_address{0x7f'0000};

thread_local sigjmp_buf escape;
thread_local int volatile caught_signal;
thread_local u32 volatile caught_mxcsr;

void on_signal(int signal, siginfo_t*, void* context) {
  caught_signal = signal;
  caught_mxcsr = static_cast<ucontext_t*>(context)->uc_mcontext.fpregs->mxcsr;
  siglongjmp(escape, 1);
}

Outcome outcome_of(int signal) {
  switch (signal) {
    case 0: return Outcome::done;
    case SIGFPE: return Outcome::floating_point;
    case SIGSEGV:
    case SIGBUS: return Outcome::memory;
    case SIGILL: return Outcome::undefined;
    default: return Outcome::other;
  }
}
Outcome outcome_of(Fault const& fault) {
  switch (fault.vector) {
    case x86::Vector::xm:
    case x86::Vector::mf: return Outcome::floating_point;
    case x86::Vector::gp:
    case x86::Vector::pf: return Outcome::memory;
    case x86::Vector::ud: return Outcome::undefined;
    default: return Outcome::other;
  }
}

/// Code that reaches the exchanged registers by absolute addresses, so that all of the processor's are free.
class NativeCode {
 public:
  NativeCode(u64 exchange, std::span<u8 const> instruction) : exchange_{exchange} {
    out_.bytes({0x53, 0x55, 0x41, 0x54, 0x41, 0x55, 0x41, 0x56, 0x41, 0x57});  // push rbx, rbp, r12 to r15
    absolute({0x48, 0x0f, 0xae}, 1, extended(0));                              // fxrstor64
    for (u8 i = 0; i < 16; i++) high_half(i, 0x18, static_cast<u8>(((~i & 0xf) << 3) | 5));
    absolute({0xff}, 6, offsetof(Registers, rflags));  // push
    out_.bytes({0x9d});                                // popfq
    for (u8 i = 0; i < 16; i++) gpr(i, 0x8b);
    out_.bytes(instruction.data(), instruction.size());
    for (u8 i = 0; i < 16; i++) gpr(i, 0x89);
    out_.bytes({0x9c});                                // pushfq
    absolute({0x8f}, 0, offsetof(Registers, rflags));  // pop
    absolute({0x48, 0x0f, 0xae}, 0, extended(0));      // fxsave64
    for (u8 i = 0; i < 16; i++) high_half(i, 0x19, 0x7d);
    out_.bytes({0xfc, 0xdb, 0xe3, 0xc5, 0xf8, 0x77});  // cld; fninit; vzeroupper
    out_.bytes({0x41, 0x5f, 0x41, 0x5e, 0x41, 0x5d, 0x41, 0x5c, 0x5d, 0x5b, 0xc3});
  }
  ConstBytes bytes() const { return out_.code(); }

 private:
  static std::size_t extended(std::size_t offset) { return offsetof(Registers, extended) + offset; }
  void absolute(std::initializer_list<u8> opcode, u8 reg, std::size_t offset) {
    out_.bytes(opcode);
    out_.bytes({static_cast<u8>(0x04 | (reg & 7) << 3), 0x25});  // [disp32]
    out_.u32_value(exchange_ + offset);
  }
  void gpr(u8 reg, u8 opcode) {
    if (reg == x86::rsp) return;
    absolute({static_cast<u8>(reg >= 8 ? 0x4c : 0x48), opcode}, reg, offsetof(Registers, gpr) + 8u * reg);
  }
  void high_half(u8 reg, u8 opcode, u8 third) {
    absolute({0xc4, static_cast<u8>((reg >= 8 ? 0x60 : 0xe0) | 3), third, opcode}, reg,
             extended(offsetof(ExtendedState, ymm_high)) + 16u * reg);
    out_.bytes({1});
  }

  u64 exchange_;
  BasicAssembler<2048> out_;
};

void* map_at(u64 address, std::size_t length) {
  // SOUND: a fixed place below the usual mappings; fails rather than replace anything.
  auto* const wanted = reinterpret_cast<void*>(address);
  auto* const got =
      mmap(wanted, length, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED_NOREPLACE, -1, 0);
  if (got != wanted) throw std::runtime_error{"low memory for native runs is taken"};
  return got;
}

}  // namespace

NativeRunner::NativeRunner()
    : slot_{*memory_.reserve(4096)},
      exchange_{static_cast<Registers*>(map_at(exchange_address, 0x1000))},
      data_{static_cast<std::byte*>(map_at(data_start, data_size))} {}

NativeRunner::~NativeRunner() {
  munmap(exchange_, 0x1000);
  munmap(data_, data_size);
}

Outcome NativeRunner::run(std::span<u8 const> instruction, Registers& registers) {
  auto const code = NativeCode{exchange_address, instruction};
  std::memcpy(slot_.writable, code.bytes().data(), code.bytes().size());
  std::memcpy(exchange_, &registers, sizeof registers);
  struct sigaction action{}, before[4]{};
  action.sa_sigaction = on_signal;
  action.sa_flags = SA_NODEFER | SA_SIGINFO;
  int const signals[]{SIGFPE, SIGSEGV, SIGBUS, SIGILL};
  for (auto i = 0; i < 4; i++) sigaction(signals[i], &action, &before[i]);
  caught_signal = 0;
  if (sigsetjmp(escape, 1) == 0) {
    // SOUND: NativeCode keeps the callee-saved registers, RSP and DF.
    asm volatile("cpuid" : : "a"(0) : "rbx", "rcx", "rdx", "memory");
    reinterpret_cast<void (*)()>(reinterpret_cast<std::uintptr_t>(slot_.executable))();
  } else {
    asm volatile("cld; fninit; vzeroupper");
    registers.extended.mxcsr = caught_mxcsr;
  }
  for (auto i = 0; i < 4; i++) sigaction(signals[i], &before[i], nullptr);
  auto const usual = u32{0x1f80};
  asm volatile("ldmxcsr %0" : : "m"(usual));
  if (caught_signal == 0) std::memcpy(&registers, exchange_, sizeof registers);
  return outcome_of(caught_signal);
}

GuestRunner::GuestRunner()
    : machine{}, model{*x86::CpuidModel::create("host", 1)}, cpu{VcpuId{0}, machine, model} {
  enter_flat64(cpu, machine);
  cpu.state.cr4 |= x86::cr4_osxsave;
  cpu.state.cr0 |= x86::cr0_ne;
  cpu.state.xcr0 = 7;
}

void GuestRunner::step(std::span<u8 const> instruction) {
  x86::Instruction insn;
  if (x86::decode(instruction, cpu.code_size(), true, insn) != x86::DecodeStatus::ok) raise_ud();
  auto const lowered = lower_vector(insn);
  if (lowered.handler == nullptr) throw std::runtime_error{"not of the vector family"};
  cpu.state.rip += insn.length;
  lowered.handler(cpu, insn, lowered.extra);
}

Outcome GuestRunner::run(std::span<u8 const> instruction, Registers& registers) {
  cpu.state.gpr = registers.gpr;
  cpu.state.rflags = registers.rflags;
  cpu.state.extended = registers.extended;
  auto outcome = Outcome::done;
  try {
    step(instruction);
  } catch (Fault const& fault) {
    outcome = outcome_of(fault);
  }
  registers = {.gpr = cpu.state.gpr, .rflags = cpu.state.rflags, .extended = cpu.state.extended};
  return outcome;
}

}  // namespace vireo::engine::soft::vector
