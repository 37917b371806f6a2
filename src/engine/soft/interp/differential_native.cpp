#include "engine/soft/interp/differential_native.h"

#include <asm/hwcap2.h>
#include <asm/ldt.h>
#include <signal.h>
#include <sys/auxv.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <ucontext.h>
#include <unistd.h>

#include <cstddef>
#include <cstring>

#include "vocab/bytes.h"
#include "vocab/numbers.h"
#include "x86/host_cpu.h"

namespace vireo::engine::soft::differential {
namespace {

/// What the assembly below and C++ share, at context_base.
struct Context {
  u64 host_rsp, host_fs_base, host_gs_base;
  u32 entry;  // 24: a far pointer
  u16 entry_code, data_segments;
  std::array<u64, 16> gpr;           // 32
  u64 rflags;                        // 160
  u64 fs_base, gs_base;              // 168, 176
  u32 in_guest;                      // 184
  u16 stack_segment;                 // 188
  alignas(64) ExtendedState in;      // 192
  alignas(64) ExtendedState out;     // 1024
  std::array<u8, 1024> flags_stack;  // 1856..2880
  u32 vector, error_code;
  u64 rip, address;
  bool endless;
};
static_assert(offsetof(Context, entry) == 24 && offsetof(Context, data_segments) == 30);
static_assert(offsetof(Context, gpr) == 32 && offsetof(Context, rflags) == 160 &&
              offsetof(Context, in_guest) == 184 && offsetof(Context, stack_segment) == 188);
static_assert(offsetof(Context, in) == 192 && offsetof(Context, out) == 1024 &&
              offsetof(Context, flags_stack) == 1856);

Context& context() {
  // SOUND: prepare() has mapped the page at this address; only this file uses it.
  return *reinterpret_cast<Context*>(context_base);
}

constexpr std::array signals{SIGSEGV, SIGBUS, SIGILL, SIGFPE, SIGTRAP, SIGVTALRM};
std::array<struct sigaction, signals.size()> previous;
constexpr u16 code64_selector{0x33}, code32_selector{0x23}, data_selector{0x2b};  // Linux, asm/segment.h
constexpr u16 code16_selector{0x7}, data16_selector{0xf};                         // ours, in the LDT
constexpr u8 hlt{0xf4};
constexpr std::size_t signal_stack_bytes{256 * 1024};
constexpr i64 longest_run_us{10'000};  // of this process' time in user mode

}  // namespace

extern "C" {
void vireo_differential_enter();
void vireo_differential_resume();
void vireo_differential_signal(int number, siginfo_t* info, void* user);
void vireo_differential_caught(int number, siginfo_t* info, void* user);
}

// SOUND: enter saves what the ABI asks to be saved, loads the guest's registers and jumps; the program ends in
// a signal, whose handler continues at resume. The stack pointer is the guest's meanwhile: signals come on
// their own stack. 0x33450000 is context_base, offsets are Context's.
asm(R"(
  .text
  .globl vireo_differential_enter
vireo_differential_enter:
  push %rbx
  push %rbp
  push %r12
  push %r13
  push %r14
  push %r15
  mov %rsp, 0x33450000
  rdfsbase %rax
  mov %rax, 0x33450008
  rdgsbase %rax
  mov %rax, 0x33450010
  mov 0x334500a8, %rax
  wrfsbase %rax
  mov 0x334500b0, %rax
  wrgsbase %rax
  movzwl 0x3345001e, %eax
  mov %eax, %ds
  mov %eax, %es
  movzwl 0x334500bc, %eax
  mov %eax, %ss
  mov $7, %eax
  xor %edx, %edx
  xrstor64 0x334500c0
  mov $0x33450b00, %esp
  pushq 0x334500a0
  popfq
  mov 0x33450020, %rax
  mov 0x33450028, %rcx
  mov 0x33450030, %rdx
  mov 0x33450038, %rbx
  mov 0x33450048, %rbp
  mov 0x33450050, %rsi
  mov 0x33450058, %rdi
  mov 0x33450060, %r8
  mov 0x33450068, %r9
  mov 0x33450070, %r10
  mov 0x33450078, %r11
  mov 0x33450080, %r12
  mov 0x33450088, %r13
  mov 0x33450090, %r14
  mov 0x33450098, %r15
  mov 0x33450040, %rsp
  movl $1, 0x334500b8
  ljmpl *0x33450018

  .globl vireo_differential_resume
vireo_differential_resume:
  xor %eax, %eax
  mov %eax, %ds
  mov %eax, %es
  mov 0x33450000, %rsp
  pushq $0x2
  popfq
  fninit
  vzeroupper
  pushq $0x1f80
  ldmxcsr (%rsp)
  pop %rax
  pop %r15
  pop %r14
  pop %r13
  pop %r12
  pop %rbp
  pop %rbx
  ret

  .globl vireo_differential_signal
vireo_differential_signal:
  cmpl $0, 0x334500b8
  je 1f
  rdfsbase %rax
  mov %rax, 0x334500a8
  rdgsbase %rax
  mov %rax, 0x334500b0
  mov 0x33450008, %rax
  wrfsbase %rax
  mov 0x33450010, %rax
  wrgsbase %rax
1:
  jmp vireo_differential_caught
)");
static_assert(context_base == 0x33450000);

extern "C" [[gnu::used]] void vireo_differential_caught(int number, siginfo_t*, void* user) {
  auto& shared = context();
  if (shared.in_guest == 0) {
    if (number == SIGVTALRM) return;
    signal(number, SIG_DFL);  // ours, not the program's: happens again and ends the process
    return;
  }
  shared.in_guest = 0;
  shared.endless = number == SIGVTALRM;
  // SOUND: the kernel's frame (signal.h: SA_SIGINFO), its floating-point part in XSAVE format.
  auto& frame = *static_cast<ucontext_t*>(user);
  auto const& registers = frame.uc_mcontext.gregs;
  constexpr std::array order{REG_RAX, REG_RCX, REG_RDX, REG_RBX, REG_RSP, REG_RBP, REG_RSI, REG_RDI,
                             REG_R8,  REG_R9,  REG_R10, REG_R11, REG_R12, REG_R13, REG_R14, REG_R15};
  for (auto i = 0uz; i < order.size(); ++i) shared.gpr[i] = static_cast<u64>(registers[order[i]]);
  shared.rflags = static_cast<u64>(registers[REG_EFL]);
  shared.rip = static_cast<u64>(registers[REG_RIP]);
  shared.vector = static_cast<u32>(registers[REG_TRAPNO]);
  shared.error_code = static_cast<u32>(registers[REG_ERR]);
  shared.address = static_cast<u64>(registers[REG_CR2]);
  // SOUND: the frame's floating-point part is at least 832 bytes long: the host has AVX.
  shared.out = *reinterpret_cast<ExtendedState const*>(frame.uc_mcontext.fpregs);
  // SOUND: an address of code, and the stack that enter() left.
  frame.uc_mcontext.gregs[REG_RIP] = reinterpret_cast<i64>(&vireo_differential_resume);
  frame.uc_mcontext.gregs[REG_RSP] = static_cast<i64>(shared.host_rsp);
  frame.uc_mcontext.gregs[REG_EFL] = 2;
  auto& selectors = frame.uc_mcontext.gregs[REG_CSGSFS];  // CS in the lowest 16 bits, SS in the highest
  selectors = (selectors & 0x0000'ffff'ffff'0000) | code64_selector | i64{data_selector} << 48;
}

namespace {

Result<> map_at(u64 address, u64 bytes, int protection) {
  // SOUND: a fixed address, refused when anything lies there.
  auto* const at = mmap(reinterpret_cast<void*>(address), bytes, protection,
                        MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED_NOREPLACE, -1, 0);
  if (at == MAP_FAILED) return fail(Errc::unsupported, "the test's addresses are taken");
  return {};
}

struct LocalSegment {
  u32 entry_number{}, base_addr{}, limit{}, contents{};  // 0: data, 2: code
};
/// A 16-bit segment in this process' LDT.
Result<> add_segment(LocalSegment const& segment) {
  auto description = user_desc{};
  description.entry_number = segment.entry_number;
  description.base_addr = segment.base_addr;
  description.limit = segment.limit;
  description.contents = segment.contents & 3;
  if (syscall(SYS_modify_ldt, 1, &description, sizeof description) != 0)
    return fail(Errc::unsupported, "the host's kernel has no 16-bit segments");
  return {};
}

void* pointer(u64 address) {
  // SOUND: an address that prepare() has mapped.
  return reinterpret_cast<void*>(address);
}

void stop_after(i64 microseconds) {
  auto const time = timeval{.tv_sec = 0, .tv_usec = microseconds};
  auto const timer = itimerval{.it_interval = time, .it_value = time};
  setitimer(ITIMER_VIRTUAL, &timer, nullptr);
}

/// XSAVE leaves components in their initial state unwritten (SDM vol. 1, 13.6); fill them in.
ExtendedState complete(ExtendedState state) {
  if (!(state.xstate_bv & 1)) {
    auto initial = ExtendedState{};
    initial.mxcsr = state.mxcsr;
    std::memcpy(initial.xmm, state.xmm, sizeof state.xmm);
    std::memcpy(initial.ymm_high, state.ymm_high, sizeof state.ymm_high);
    initial.xstate_bv = state.xstate_bv;
    state = initial;
  }
  if (!(state.xstate_bv & 2)) std::memset(&state.xmm, 0, sizeof state.xmm);
  if (!(state.xstate_bv & 4)) std::memset(&state.ymm_high, 0, sizeof state.ymm_high);
  state.mxcsr_mask = 0xffff;
  state.xstate_bv = 7;
  state.xcomp_bv = 0;
  std::memset(&state.reserved2, 0, sizeof state.reserved2);
  return state;
}

}  // namespace

Result<> Native::prepare() {
  static auto prepared = false;
  if (prepared) {
    std::memset(pointer(code_base), 0, code_bytes);  // programs may read it
    return {};
  }
#ifdef __SANITIZE_ADDRESS__
  return fail(Errc::unsupported, "AddressSanitizer maps its shadow where programs expect nothing");
#endif
  auto const fs_base_usable = (getauxval(AT_HWCAP2) & HWCAP2_FSGSBASE) != 0;  // the kernel has set CR4.FSGSBASE
  if (!fs_base_usable || !x86::host_has(x86::Feature::avx2))
    return fail(Errc::unsupported, "the host has no AVX2 or no FSGSBASE");
  TRY(map_at(code_base, code_bytes, PROT_READ | PROT_WRITE | PROT_EXEC));
  TRY(map_at(scratch_base, scratch_bytes, PROT_READ | PROT_WRITE));
  TRY(map_at(context_base, page_size, PROT_READ | PROT_WRITE));
  auto const tables = operand_tables();
  std::memcpy(pointer(scratch_base + writable_bytes), tables.data(), tables.size());
  mprotect(pointer(scratch_base + writable_bytes), tables.size(), PROT_READ);
  prepared = true;
  return {};
}

Result<> Native::prepare16() {
  TRY(add_segment(
      {.entry_number = code16_selector >> 3, .base_addr = code_base, .limit = 0xffff, .contents = 2}));
  TRY(add_segment(
      {.entry_number = data16_selector >> 3, .base_addr = scratch_base, .limit = scratch_bytes - 1}));
  return {};
}

Native::Native() {
  static auto* const stack = static_cast<std::byte*>(
      mmap(nullptr, signal_stack_bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0));
  auto const alternate = stack_t{.ss_sp = stack, .ss_flags = 0, .ss_size = signal_stack_bytes};
  sigaltstack(&alternate, nullptr);
  struct sigaction action{};
  action.sa_sigaction = vireo_differential_signal;
  action.sa_flags = SA_SIGINFO | SA_ONSTACK | SA_NODEFER;
  for (auto i = 0uz; i < signals.size(); ++i) sigaction(signals[i], &action, &previous[i]);
}

Native::~Native() {
  for (auto i = 0uz; i < signals.size(); ++i) sigaction(signals[i], &previous[i], nullptr);
}

void Native::store(Program const& program) {
  auto* const at = static_cast<u8*>(pointer(program.at));
  std::memcpy(at, program.code.data(), program.code.size());
  at[program.code.size()] = hlt;  // #GP there: the program has completed
}

Outcome Native::run(Program const& program, Scratch& scratch) {
  auto& shared = context();
  auto const& initial = program.initial;
  std::memcpy(pointer(scratch_base), scratch.data(), writable_bytes);
  shared.gpr = initial.gpr;
  shared.rflags = initial.rflags;
  shared.fs_base = initial.fs_base;
  shared.gs_base = initial.gs_base;
  shared.in = initial.extended;
  shared.in.xstate_bv = 7;
  shared.out = {};
  shared.entry = static_cast<u32>(program.rip());
  shared.stack_segment = data_selector;
  switch (program.code_size) {
    case x86::CodeSize::bits16:
      shared.entry_code = code16_selector;
      shared.data_segments = shared.stack_segment = data16_selector;
      break;
    case x86::CodeSize::bits32:
      shared.entry_code = code32_selector;
      shared.data_segments = data_selector;
      break;
    case x86::CodeSize::bits64:
      shared.entry_code = code64_selector;
      shared.data_segments = 0;
      break;
  }
  stop_after(longest_run_us);
  vireo_differential_enter();
  stop_after(0);
  std::memcpy(scratch.data(), pointer(scratch_base), writable_bytes);
  auto result = Outcome{.endless = shared.endless};
  result.completed = shared.vector == 13 && shared.rip == program.rip() + program.code.size();
  if (!result.completed) {
    result.vector = static_cast<u8>(shared.vector);
    result.error_code = shared.error_code;
    result.address = shared.vector == 14 ? shared.address : 0;
  }
  result.registers = {.gpr = shared.gpr,
                      .rip = shared.rip,
                      .rflags = shared.rflags,
                      .fs_base = shared.fs_base,
                      .gs_base = shared.gs_base,
                      .extended = complete(shared.out)};
  return result;
}

}  // namespace vireo::engine::soft::differential
