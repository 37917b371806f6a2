#include "machine/console_escape.h"

#include <gtest/gtest.h>

namespace vireo::machine {
namespace {

TEST(ConsoleEscape, PassesPlainTextThrough) {
  auto escape = ConsoleEscape{};

  EXPECT_EQ(escape.take("ls -l\r").for_guest, "ls -l\r");
}

TEST(ConsoleEscape, FindsARequestSplitOverTwoReads) {
  auto escape = ConsoleEscape{};

  EXPECT_EQ(escape.take("a\x1d").for_guest, "a");
  EXPECT_EQ(escape.take("q").request, ConsoleRequest::quit);
}

TEST(ConsoleEscape, SendsTheEscapeItselfWhenTypedTwiceAndIgnoresUnknownKeys) {
  auto escape = ConsoleEscape{};

  EXPECT_EQ(escape.take("\x1d\x1d").for_guest, "\x1d");
  auto const unknown = escape.take("\x1dzb");
  EXPECT_FALSE(unknown.request);
  EXPECT_EQ(unknown.for_guest, "b");
}

}  // namespace
}  // namespace vireo::machine
