#include "engine/soft/host_timer.h"

#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <csignal>
#include <mutex>

#include "engine/soft/interp/cpu.h"
#include "engine/soft/tsc.h"

namespace vireo::engine::soft {
namespace {

int signal_number() { return SIGRTMIN + 4; }
constexpr u64 soonest_ns{1'000};
constexpr u64 latest_ns{1'000'000'000};

void on_timer(int, siginfo_t* info, void*) {
  // SOUND: the timer was created with this pointer, and dies before the Cpu.
  static_cast<Cpu*>(info->si_value.sival_ptr)->request_attention(attention_events);
}

}  // namespace

HostTimer::HostTimer(Cpu& cpu) {
  static std::once_flag once;
  std::call_once(once, [] {
    struct sigaction action{};
    action.sa_sigaction = on_timer;
    action.sa_flags = SA_SIGINFO | SA_RESTART;
    sigaction(signal_number(), &action, nullptr);
  });
  auto event = sigevent{};
  event.sigev_notify = SIGEV_THREAD_ID;
  event.sigev_signo = signal_number();
  event.sigev_value.sival_ptr = &cpu;
  event._sigev_un._tid = static_cast<pid_t>(syscall(SYS_gettid));
  exists_ = timer_create(CLOCK_MONOTONIC, &event, &timer_) == 0;
}

HostTimer::~HostTimer() {
  if (exists_) timer_delete(timer_);
}

void HostTimer::arm(u64 deadline) {
  auto const now = host_tsc();
  auto const pending = armed_ > now;
  if (!exists_ || (pending && deadline >= armed_) || deadline == ~u64{0}) return;
  armed_ = deadline;
  auto const distance = deadline > now ? std::min(deadline - now, u64{1} << 40) : 0;
  auto const ns = std::clamp(nanoseconds_from_tsc(host_tsc_description(), distance), soonest_ns, latest_ns);
  if (ns == latest_ns) armed_ = now + tsc_from_nanoseconds(host_tsc_description(), latest_ns);
  auto const when = itimerspec{.it_interval = {},
                               .it_value = {.tv_sec = static_cast<time_t>(ns / 1'000'000'000),
                                            .tv_nsec = static_cast<long>(ns % 1'000'000'000)}};
  timer_settime(timer_, 0, &when, nullptr);
}

}  // namespace vireo::engine::soft
