#include "vocab/units.h"

#include <gtest/gtest.h>

#include <array>

namespace vireo {
namespace {

TEST(Units, ReadsSizesAsBinary) {
  EXPECT_EQ(parse_size("4GiB").value(), u64{4} << 30);
  EXPECT_EQ(parse_size("4G").value(), u64{4} << 30);
  EXPECT_EQ(parse_size("512m").value(), u64{512} << 20);
  EXPECT_EQ(parse_size("1.5K").value(), 1536u);
  EXPECT_EQ(parse_size("4096").value(), 4096u);
}

TEST(Units, RefusesWhatIsNoSizeAndSaysSo) {
  EXPECT_FALSE(parse_size(""));
  EXPECT_FALSE(parse_size("-1G"));
  EXPECT_FALSE(parse_size("4GB7"));
  EXPECT_FALSE(parse_size("99999999999G"));
  EXPECT_NE(parse_size("lots").error().what().find("'lots' is not a size"), std::string::npos);
}

TEST(Units, FormatsWhatParsesBack) {
  EXPECT_EQ(format_size(u64{4} << 30), "4GiB");
  EXPECT_EQ(format_size(1536u << 20), "1536MiB");
  EXPECT_EQ(format_size(1000), "1000");
  EXPECT_EQ(format_size(0), "0");
}

TEST(Units, FindsTheNearestWord) {
  auto const words = std::array<std::string_view, 3>{"memory", "cpus", "disks"};

  EXPECT_EQ(nearest("memroy", words), "memory");
  EXPECT_EQ(nearest("zzz", words), "");
}

}  // namespace
}  // namespace vireo
