#include "engine/soft/translate/host.h"

#include <asm/prctl.h>
#include <cpuid.h>
#include <sys/auxv.h>
#include <sys/syscall.h>
#include <ucontext.h>
#include <unistd.h>

#include <csignal>
#include <mutex>

#include "engine/soft/translate/translator.h"

namespace vireo::engine::soft::translate {

namespace {

thread_local Translator* current{};
thread_local Window const* base{};

struct sigaction previous_fpe, previous_segv;

struct sigaction& previous(int signal) { return signal == SIGFPE ? previous_fpe : previous_segv; }

void on_exception(int signal, siginfo_t* info, void* context) {
  auto* const user = static_cast<ucontext_t*>(context);
  auto& registers = user->uc_mcontext.gregs;
  // SOUND: compared with the bounds of translated code only.
  auto const* const at = reinterpret_cast<u8 const*>(registers[REG_RIP]);
  if (current != nullptr && current->contains(at)) {
    registers[REG_R10] = registers[REG_RIP];
    // SOUND: the exit takes the registers as they stand at the exception.
    registers[REG_RIP] = static_cast<greg_t>(reinterpret_cast<u64>(current->trap_exit()));
    return;
  }
  auto const& before = previous(signal);
  if ((before.sa_flags & SA_SIGINFO) && before.sa_sigaction != nullptr) {
    return before.sa_sigaction(signal, info, context);
  }
  sigaction(signal, &before, nullptr);  // it comes again
}

void install() {
  struct sigaction action{};
  action.sa_sigaction = on_exception;
  action.sa_flags = SA_SIGINFO;
  sigaction(SIGFPE, &action, &previous_fpe);
  sigaction(SIGSEGV, &action, &previous_segv);
}

constexpr unsigned long hwcap2_fsgsbase{2};
bool has_fsgsbase() {
  static auto const has = (getauxval(AT_HWCAP2) & hwcap2_fsgsbase) != 0;
  return has;
}

}  // namespace

void prepare_host_thread(Translator* translator) {
  if (current == translator) return;
  static std::once_flag once;
  std::call_once(once, install);
  current = translator;
  base = nullptr;
}

void leave_host_thread(Translator const* translator) {
  if (current == translator) current = nullptr;
}

void set_window_base(Window const* window) {
  if (base == window) return;
  base = window;
  // SOUND: nothing else on this thread uses GS.
  auto const address = reinterpret_cast<u64>(window);
  if (has_fsgsbase())
    asm volatile("wrgsbase %0" ::"r"(address));
  else
    syscall(SYS_arch_prctl, ARCH_SET_GS, address);
}

bool host_has_avx() {
  static auto const has = [] {
    u32 a{}, b{}, c{}, d{};
    __get_cpuid(1, &a, &b, &c, &d);
    if ((c & bit_AVX) == 0 || (c & bit_OSXSAVE) == 0) return false;
    u32 low{}, high{};
    asm volatile("xgetbv" : "=a"(low), "=d"(high) : "c"(0));
    return (low & 6) == 6;
  }();
  return has;
}

bool host_keeps_x87_data_pointer() {
  static auto const keeps = [] {
    u32 a{}, b{}, c{}, d{};
    return __get_cpuid_count(7, 0, &a, &b, &c, &d) != 0 && (b & 1u << 6) != 0;
  }();
  return keeps;
}

}  // namespace vireo::engine::soft::translate
