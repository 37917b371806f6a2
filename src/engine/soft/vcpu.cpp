#include "engine/soft/vcpu.h"

#include <fmt/format.h>
#include <linux/futex.h>
#include <pthread.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>

#include "engine/soft/host_timer.h"
#include "engine/soft/interp/system/event.h"
#include "engine/soft/paravirt.h"
#include "engine/soft/vcpu_check.h"
#include "engine/soft/vcpu_stolen_time.h"
#include "observe/log.h"

namespace vireo::engine::soft {

namespace {

constexpr u32 blocks_at_once{200};
constexpr u32 exits_at_once{1000};
constexpr u64 worth_sleeping_ns{20'000};  // a sleep costs about that much
constexpr u64 stolen_time_reports_per_second{50};
constexpr u64 longest_sleep_ns{1'000'000'000};

// SOUND: the futex word is a lock-free atomic<u32>, whose representation is the value's.
u32* futex_word(std::atomic<u32>& word) { return reinterpret_cast<u32*>(&word); }
static_assert(std::atomic<u32>::is_always_lock_free && sizeof(std::atomic<u32>) == 4);

}  // namespace

Vcpu::Vcpu(VcpuId id, MachineView& machine, x86::CpuidModel const& model, ApicFabric& fabric, CodePages& pages,
           u32 apic_timer_ratio)
    : cpu_{id, machine, model},
      member_{pages.rendezvous(), *this},
      fabric_{fabric},
      apic_{id, *this, apic_timer_ratio} {
  cpu_.apic = &apic_;
  cpu_.follow_code(&pages, &member_);
}

// ---- from outside ----

void Vcpu::start(ClockBase const& clock) {
  cpu_.machine_tsc_offset = clock.machine_tsc_offset;
  cpu_.clock_tsc = clock.tsc;
  cpu_.clock_ns = clock.ns;
  cpu_.attention.fetch_and(~u32{attention_stop}, std::memory_order_relaxed);  // the last stop's
  cpu_.request_attention(attention_events);
  thread_ = std::thread{[this] { run(); }};
}

void Vcpu::request_stop() {
  cpu_.request_attention(attention_stop);
  wake();
}

void Vcpu::stop() {
  if (!thread_.joinable()) return;
  request_stop();
  thread_.join();
}

void Vcpu::reset(u64 machine_tsc) {
  cpu_.state = reset_state(cpu_.id() == VcpuId{0});
  cpu_.state.tsc_offset = u64{0} - machine_tsc;
  apic_.reset();
  kicked_ = false;
  forget_translations();
}

Result<> Vcpu::set_state(VcpuState const& state) {
  TRY(check_state(state, cpu_));
  cpu_.state = state;
  cpu_.state.rflags |= x86::flag_fixed;
  forget_translations();
  return {};
}

void Vcpu::forget_translations() {
  cpu_.update_mode();
  cpu_.mmu.set_cr3(cpu_.state.cr3, false);
  cpu_.mmu.flush_all();
  interpreter_.forget_all();
  if (translator_) translator_->forget_all();
}

Result<> Vcpu::use_translator(u64 cache_bytes, bool verify) {
  translator_ = TRY(translate::Translator::create(cpu_, static_cast<u32>(cache_bytes)));
  if (verify) translator_->verify();
  return {};
}

std::vector<Counter> Vcpu::counters() const {
  auto const& tlb = cpu_.mmu.counters();
  auto all = std::vector<Counter>{{"interpreter.instructions", cpu_.instructions},
                                  {"tlb.walks", tlb.walks},
                                  {"tlb.flushes", tlb.flushes},
                                  {"tlb.page_flushes", tlb.page_flushes},
                                  {"tlb.address_space_switches", tlb.switches}};
  if (translator_) translator_->append_counters(all);
  return all;
}

// The interpreter looks itself whether its code has changed.
void Vcpu::drop_code(std::byte* page) {
  if (translator_) translator_->drop_code(page);
}

RunExit Vcpu::run_guest() {
  return translator_ ? translator_->run(cpu_, exits_at_once) : interpreter_.run(cpu_, blocks_at_once);
}

// ---- waking ----

u64 Vcpu::machine_tsc() const { return soft::machine_tsc(cpu_); }

void Vcpu::end_of_level_interrupt(u8 vector) {
  auto const out = Cpu::OutOfCode{cpu_};
  cpu_.machine().broadcast_eoi(vector);
}

void Vcpu::notify() {
  cpu_.request_attention(attention_events);
  wake();
}

// SOUND: the sleeper sets asleep_ and then the kernel compares the attention word; a waker sets the word and
// then looks at asleep_. With a full fence on both sides one of them sees the other, so no wake-up is lost.
void Vcpu::wake() {
  std::atomic_thread_fence(std::memory_order_seq_cst);
  if (asleep_.load(std::memory_order_relaxed)) {
    syscall(SYS_futex, futex_word(cpu_.attention), FUTEX_WAKE_PRIVATE, 1, nullptr, nullptr, 0);
  }
}

void Vcpu::wait(u64 deadline) {
  auto const now = machine_tsc();
  if (now >= deadline) return;
  auto const& tsc = host_tsc_description();
  auto const ns = std::min(nanoseconds_from_tsc(tsc, std::min(deadline - now, u64{1} << 40)), longest_sleep_ns);
  if (ns < worth_sleeping_ns) {
    while (machine_tsc() < deadline && cpu_.attention.load(std::memory_order_relaxed) == 0)
      __builtin_ia32_pause();
    return;
  }
  auto const timeout = timespec{.tv_sec = static_cast<time_t>(ns / 1'000'000'000),
                                .tv_nsec = static_cast<long>(ns % 1'000'000'000)};
  paravirt::mark_preempted(cpu_);
  asleep_.store(true, std::memory_order_seq_cst);
  syscall(SYS_futex, futex_word(cpu_.attention), FUTEX_WAIT_PRIVATE, 0, &timeout, nullptr, 0);
  asleep_.store(false, std::memory_order_relaxed);
  if (paravirt::mark_running(cpu_)) cpu_.mmu.flush_all();
}

// The machine resets, or stops, the engine from another thread.
void Vcpu::wait_for_stop(RunExit exit) {
  auto const* const reason =
      exit == RunExit::failed ? "the translator differs from the interpreter" : "triple fault";
  observe::log(observe::Level::info, "engine", "vcpu {}: {} at {:#x}", cpu_.id().value, reason, cpu_.state.rip);
  if (exit == RunExit::failed)
    cpu_.machine().report_failure(reason);
  else
    cpu_.machine().request_reset(reason);
  while (!(cpu_.attention.load(std::memory_order_acquire) & attention_stop)) {
    cpu_.attention.fetch_and(attention_stop, std::memory_order_relaxed);
    wait(~u64{0});
  }
}

// ---- the vCPU's thread ----

void Vcpu::run() {
  auto const name = fmt::format("vcpu{}", cpu_.id().value);
  pthread_setname_np(pthread_self(), name.c_str());
  prctl(PR_SET_TIMERSLACK, 1);
  paravirt::publish_time(cpu_);
  auto stolen = StolenTime{};
  auto timer = HostTimer{cpu_};
  auto next_report = machine_tsc();

  while (true) {
    auto const attention = cpu_.attention.exchange(0, std::memory_order_acq_rel);
    if (attention & attention_stop) return;
    if (attention & attention_flush) cpu_.mmu.flush_all();
    apic_.poll_timer();
    take_signals();
    if (auto const now = machine_tsc(); now >= next_report) {
      next_report = now + host_tsc_description().hz / stolen_time_reports_per_second;
      if (paravirt::wants_stolen_time(cpu_)) paravirt::add_stolen_time(cpu_, stolen.take());
    }
    if (cpu_.state.activity == Activity::wait_for_sipi) {
      wait(~u64{0});
      continue;
    }
    member_.enter_code();
    auto exit = deliver_pending() ? RunExit::budget : RunExit::shutdown;
    auto const halted = cpu_.state.activity == Activity::halted;
    if (exit != RunExit::shutdown && !halted) {
      if (translator_) {
        auto const next = std::min(apic_.timer_deadline(), next_report);
        timer.arm(next - cpu_.machine_tsc_offset);
      }
      exit = run_guest();
    }
    member_.leave_code();
    if (exit == RunExit::shutdown || exit == RunExit::failed) return wait_for_stop(exit);
    if (halted) wait(apic_.timer_deadline());
  }
}

void Vcpu::take_signals() {
  auto const signals = apic_.take_signals();
  if (signals & LocalApic::signal_init) enter_init();
  if ((signals & LocalApic::signal_startup) && cpu_.state.activity == Activity::wait_for_sipi) {
    enter_startup(apic_.startup_vector());
  }
  if (signals & LocalApic::signal_nmi) cpu_.state.nmi_pending = true;
  if (signals & LocalApic::signal_kick) kicked_ = true;
  if (kicked_ && cpu_.state.activity == Activity::halted) {
    kicked_ = false;
    cpu_.state.activity = Activity::running;
  }
}

// SDM vol. 3, table 10-1, column INIT: time, caches' and vector registers live on.
void Vcpu::enter_init() {
  auto fresh = reset_state(false);
  auto const& old = cpu_.state;
  fresh.cr0 = (fresh.cr0 & ~u64{x86::cr0_cd | x86::cr0_nw}) | (old.cr0 & (x86::cr0_cd | x86::cr0_nw));
  fresh.xcr0 = old.xcr0;
  fresh.extended = old.extended;
  fresh.pat = old.pat;
  fresh.tsc_aux = old.tsc_aux;
  fresh.tsc_offset = old.tsc_offset;
  fresh.tsc_adjust = old.tsc_adjust;
  fresh.misc_enable = old.misc_enable;
  fresh.mtrr_def_type = old.mtrr_def_type;
  fresh.mtrr_fixed = old.mtrr_fixed;
  fresh.mtrr_variable = old.mtrr_variable;
  fresh.activity = cpu_.id() == VcpuId{0} ? Activity::running : Activity::wait_for_sipi;
  cpu_.state = fresh;
  apic_.init();
  kicked_ = false;
  cpu_.update_mode();
  cpu_.mmu.set_cr3(cpu_.state.cr3, false);
  cpu_.mmu.flush_all();
}

void Vcpu::enter_startup(u8 vector) {
  auto& cs = cpu_.state.cs();
  cs.selector = static_cast<u16>(vector << 8);
  cs.base = u64{vector} << 12;
  cpu_.state.rip = 0;
  cpu_.state.activity = Activity::running;
  cpu_.update_mode();
}

// ExtINT first, as the 8259 cannot wait behind the local APIC's priorities. -1: the request went away.
int Vcpu::next_interrupt() {
  if (apic_.extint_pending()) {
    auto const out = Cpu::OutOfCode{cpu_};
    return cpu_.machine().acknowledge_pic();
  }
  return apic_.acknowledge();
}

bool Vcpu::deliver_pending() {
  auto& state = cpu_.state;
  auto const nmi = state.nmi_pending && !state.nmi_blocked;
  auto const interrupt = apic_.interrupt_pending();
  if (!nmi && !interrupt) return true;
  if (state.interrupt_shadow && state.activity == Activity::running) {
    cpu_.request_attention(attention_events);  // come back after the next instruction
    return true;
  }
  if (nmi) {
    state.nmi_pending = false;
    if (interrupt) cpu_.request_attention(attention_events);
    return deliver_event(cpu_, {.vector = 2, .kind = Event::Kind::nmi}) == Delivery::delivered;
  }
  if (!(state.rflags & x86::flag_if)) return true;
  auto const vector = next_interrupt();
  if (vector < 0) return true;
  auto const delivery = deliver_event(cpu_, {.vector = static_cast<u8>(vector), .kind = Event::Kind::external});
  if ((state.rflags & x86::flag_if) && apic_.interrupt_pending()) cpu_.request_attention(attention_events);
  return delivery == Delivery::delivered;
}

}  // namespace vireo::engine::soft
