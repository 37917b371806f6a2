#include "host/terminal.h"

#include <gtest/gtest.h>
#include <pty.h>
#include <sys/wait.h>
#include <termios.h>
#include <unistd.h>

#include <csignal>

#include "host/descriptor.h"

namespace vireo::host {
namespace {

struct Pseudoterminal {
  Pseudoterminal() {
    auto a = -1;
    auto b = -1;
    EXPECT_EQ(::openpty(&a, &b, nullptr, nullptr, nullptr), 0);
    controller.reset(a);
    terminal.reset(b);
  }
  bool is_raw() const {
    auto settings = termios{};
    ::tcgetattr(terminal.get(), &settings);
    return (settings.c_lflag & (ICANON | ECHO | ISIG)) == 0;
  }
  Descriptor controller;
  Descriptor terminal;
};

TEST(RawTerminal, IsRawWhileItLivesAndRestoredAfter) {
  auto const pty = Pseudoterminal{};
  {
    auto const raw = RawTerminal::enter(pty.terminal.get());
    ASSERT_TRUE(raw);
    EXPECT_TRUE(pty.is_raw());
  }
  EXPECT_FALSE(pty.is_raw());
}

void run_in_child(Pseudoterminal const& pty, void (*ending)()) {
  auto const id = ::fork();
  if (id == 0) {
    auto const raw = RawTerminal::enter(pty.terminal.get());
    ending();
    ::_exit(0);
  }
  ::waitpid(id, nullptr, 0);
}

TEST(RawTerminal, IsRestoredWhenASignalEndsTheProcess) {
  auto const pty = Pseudoterminal{};
  run_in_child(pty, [] { ::raise(SIGTERM); });
  EXPECT_FALSE(pty.is_raw());
}

TEST(RawTerminal, IsRestoredByExit) {
  auto const pty = Pseudoterminal{};
  run_in_child(pty, [] { std::exit(1); });
  EXPECT_FALSE(pty.is_raw());
}

TEST(RawTerminal, RefusesWhatIsNoTerminal) { EXPECT_FALSE(RawTerminal::enter(-1)); }

}  // namespace
}  // namespace vireo::host
