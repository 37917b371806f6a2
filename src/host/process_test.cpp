#include "host/process.h"

#include <gtest/gtest.h>
#include <signal.h>

namespace vireo::host {
namespace {

TEST(Process, CapturesBothStreamsAndTheExitCode) {
  auto lines = std::vector<std::string>{};
  auto const result = *run_process({.arguments = {"sh", "-c", "cat; echo one >&2; echo two >&2; exit 3"},
                                    .input = "fed",
                                    .output = Process::Stream::capture,
                                    .error = Process::Stream::capture},
                                   [&](std::string_view line) { lines.emplace_back(line); });
  EXPECT_EQ(result.output, "fed");
  EXPECT_EQ(lines, (std::vector<std::string>{"one", "two"}));
  EXPECT_EQ(result.status.code, 3);
  EXPECT_FALSE(result.status.success());
}

TEST(Process, PassesAdditionsToTheEnvironment) {
  auto const result = *run_process({.arguments = {"sh", "-c", "echo $VIREO_WORD"},
                                    .environment = {"VIREO_WORD=bird"},
                                    .output = Process::Stream::capture});
  EXPECT_EQ(result.output, "bird\n");
}

TEST(Process, NamesAProgramThatIsNotInstalled) {
  auto const result = Process::start({.arguments = {"vireo-no-such-program"}});
  ASSERT_FALSE(result);
  EXPECT_EQ(result.error().code(), Errc::not_found);
  EXPECT_NE(result.error().what().find("vireo-no-such-program"), std::string::npos);
}

TEST(Process, EndsWithItsOwner) {
  auto id = pid_t{-1};
  {
    auto const process = *Process::start({.arguments = {"sleep", "1000"}});
    id = process.id();
  }
  EXPECT_EQ(::kill(id, 0), -1);
}

TEST(Process, ReportsTheSignalThatEndedIt) {
  auto process = *Process::start({.arguments = {"sleep", "1000"}});
  ASSERT_TRUE(process.kill(SIGTERM));
  EXPECT_EQ(process.wait()->signal, SIGTERM);
}

}  // namespace
}  // namespace vireo::host
