#include "host/terminal.h"

#include <termios.h>
#include <unistd.h>

#include <array>
#include <atomic>
#include <cerrno>
#include <csignal>
#include <cstdlib>
#include <utility>

#include "host/system_error.h"

namespace vireo::host {
namespace {

// Plain globals: a signal handler reads them. Written before `raw_fd` is set, unchanged while it is.
std::atomic<int> raw_fd{-1};
termios saved{};

void restore() {
  auto const fd = raw_fd.exchange(-1);
  if (fd >= 0) ::tcsetattr(fd, TCSANOW, &saved);
}

void restore_and_die(int number) {
  restore();
  // The handler was installed with SA_RESETHAND: the default action follows once it returns.
  ::raise(number);
}

void catch_deadly_signals() {
  for (auto const number :
       {SIGHUP, SIGINT, SIGQUIT, SIGTERM, SIGABRT, SIGSEGV, SIGBUS, SIGILL, SIGFPE, SIGPIPE}) {
    struct sigaction current{};
    ::sigaction(number, nullptr, &current);
    if (current.sa_handler != SIG_DFL)
      continue;  // whoever took it ends the process through exit() or a destructor
    struct sigaction action{};
    action.sa_handler = restore_and_die;
    action.sa_flags = static_cast<int>(SA_RESETHAND | SA_ONSTACK);
    ::sigaction(number, &action, nullptr);
  }
}

}  // namespace

bool is_terminal(int fd) { return ::isatty(fd) == 1; }

Result<RawTerminal> RawTerminal::enter(int fd) {
  if (raw_fd >= 0) return fail(Errc::busy, "the terminal is in raw mode already");
  if (::tcgetattr(fd, &saved) != 0) return fail_errno(errno, "terminal");
  static auto const once = [] {
    catch_deadly_signals();
    return std::atexit(restore);
  }();
  static_cast<void>(once);
  auto raw = saved;
  ::cfmakeraw(&raw);
  raw.c_oflag = saved.c_oflag;  // our own messages still get their carriage returns
  raw_fd = fd;
  if (::tcsetattr(fd, TCSANOW, &raw) != 0) {
    raw_fd = -1;
    return fail_errno(errno, "terminal");
  }
  return RawTerminal{};
}

RawTerminal::RawTerminal(RawTerminal&& other) noexcept : active_{std::exchange(other.active_, false)} {}

RawTerminal::~RawTerminal() {
  if (active_) restore();
}

}  // namespace vireo::host
