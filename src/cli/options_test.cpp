#include "cli/options.h"

#include <gtest/gtest.h>

#include <array>

namespace vireo::cli {
namespace {

struct Sample {
  std::string count, rest;
  bool loud{};
  Command command{.usage = "sample",
                  .summary = "Does nothing.",
                  .options = {{"--count", "N", "how many",
                               [this](auto v) {
                                 count = v;
                                 return Result<>{};
                               }},
                              {"--loud", "", "say it",
                               [this](auto) {
                                 loud = true;
                                 return Result<>{};
                               }}},
                  .positional = [this](auto v) {
                    rest += v;
                    return Result<>{};
                  }};
};

TEST(Options, TakesBothSpellingsOfAValueAndPositionals) {
  auto sample = Sample{};

  ASSERT_TRUE(parse(sample.command, std::array{"a", "--count=3", "--loud", "b"}));
  EXPECT_EQ(sample.count, "3");
  EXPECT_TRUE(sample.loud);
  EXPECT_EQ(sample.rest, "ab");

  ASSERT_TRUE(parse(sample.command, std::array{"--count", "4"}));
  EXPECT_EQ(sample.count, "4");
}

TEST(Options, NamesTheNearestOptionAndTheMissingValue) {
  auto sample = Sample{};

  EXPECT_EQ(parse(sample.command, std::array{"--cuont", "3"}).error().what(),
            "unknown option '--cuont'; did you mean '--count'?");
  EXPECT_EQ(parse(sample.command, std::array{"--count"}).error().what(), "--count needs a value: --count N");
  EXPECT_EQ(parse(sample.command, std::array{"--loud=1"}).error().what(), "--loud takes no value");
}

TEST(Options, HelpListsEveryOption) {
  auto const text = help_text(Sample{}.command);

  EXPECT_NE(text.find("--count N"), std::string::npos);
  EXPECT_NE(text.find("say it"), std::string::npos);
}

}  // namespace
}  // namespace vireo::cli
