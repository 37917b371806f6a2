// Processes and threads: starting them, and switching between them.
#include <linux/futex.h>
#include <sched.h>
#include <spawn.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <atomic>
#include <thread>

#include "harness.h"

namespace bench {
namespace {

uint64_t reap(pid_t child) {
  int status{1};
  waitpid(child, &status, 0);
  return static_cast<uint64_t>(status);
}

uint64_t fork_exit() {
  pid_t const child{fork()};
  if (child == 0) _exit(0);
  return reap(child);
}

uint64_t fork_exec() {
  pid_t const child{fork()};
  if (child == 0) {
    execl(exit_program(), "exit", nullptr);
    _exit(7);
  }
  return reap(child);
}

uint64_t vfork_exec() {
  pid_t const child{vfork()};
  if (child == 0) {
    execl(exit_program(), "exit", nullptr);
    _exit(7);
  }
  return reap(child);
}

int there[2], back[2];

void start_echo() {
  if (pipe(there) != 0 || pipe(back) != 0) _exit(1);
  if (fork() != 0) return;
  prctl(PR_SET_PDEATHSIG, SIGKILL);
  char byte{};
  while (read(there[0], &byte, 1) == 1 && write(back[1], &byte, 1) == 1) continue;
  _exit(0);
}

constexpr size_t rounds{50};
uint64_t pipe_ping_pong() {
  uint64_t sum{0};
  for (size_t i{0}; i < rounds; ++i) {
    char byte{static_cast<char>(i)};
    if (write(there[1], &byte, 1) != 1 || read(back[0], &byte, 1) != 1) _exit(1);
    sum += static_cast<uint8_t>(byte);
  }
  return sum;
}

std::atomic<uint32_t> turn{0};

void wait_for(uint32_t mine) {
  for (uint32_t seen{}; (seen = turn.load()) != mine;)
    syscall(SYS_futex, &turn, FUTEX_WAIT_PRIVATE, seen, nullptr, nullptr, 0);
}

void pass_to(uint32_t other) {
  turn.store(other);
  syscall(SYS_futex, &turn, FUTEX_WAKE_PRIVATE, 1, nullptr, nullptr, 0);
}

void start_partner() {
  std::thread{[] {
    for (;;) {
      wait_for(1);
      pass_to(0);
    }
  }}.detach();
}

uint64_t futex_switch() {
  for (size_t i{0}; i < rounds; ++i) {
    pass_to(1);
    wait_for(0);
  }
  return turn.load();
}

uint64_t thread_start() {
  uint64_t result{0};
  std::thread{[&] { result = 42; }}.join();
  return result;
}

constexpr std::array workloads{
    Workload{"kernel.fork_exit", 1, fork_exit},
    Workload{"kernel.fork_exec", 1, fork_exec},
    Workload{"kernel.vfork_exec", 1, vfork_exec},
    Workload{"kernel.pipe_ping_pong", rounds, pipe_ping_pong, start_echo},
    Workload{"kernel.futex_switch", rounds, futex_switch, start_partner},
    Workload{"kernel.thread_start", 1, thread_start},
};

}  // namespace

std::span<Workload const> process_workloads() { return workloads; }

}  // namespace bench
