#include "state/saved.h"

#include <gtest/gtest.h>

#include <array>

namespace vireo::state {
namespace {

struct Sample {
  static constexpr std::string_view schema = "test.sample";
  u32 number{7};
  bool flag{};
  std::array<u16, 3> list{};
  std::vector<u8> bytes;
  static void fields(auto&& s, auto&& f) {
    f(1, "number", s.number);
    f(2, "flag", s.flag);
    f(3, "list", s.list);
    f(4, "bytes", s.bytes);
  }
};

TEST(Saved, RestoresWhatWasSaved) {
  auto const original = Sample{.number = 1, .flag = true, .list = {1, 2, 3}, .bytes = {9, 8}};
  auto copy = Sample{};

  ASSERT_TRUE(restore(save(original), copy));

  EXPECT_EQ(save(copy), save(original));
}

TEST(Saved, MissingFieldsKeepTheirResetValue) {
  auto saved = save(Sample{.number = 1, .flag = true});
  saved.fields.erase(1);
  auto copy = Sample{};

  ASSERT_TRUE(restore(saved, copy));

  EXPECT_EQ(copy.number, 7u);
  EXPECT_TRUE(copy.flag);
}

TEST(Saved, RefusesUnknownFieldsForeignSchemasAndWrongSizes) {
  auto const good = save(Sample{});
  auto unknown = good;
  unknown.fields[99] = {};
  auto foreign = good;
  foreign.schema = "test.other";
  auto short_field = good;
  short_field.fields[1].pop_back();
  auto bad_bool = good;
  bad_bool.fields[2] = {std::byte{2}};
  auto copy = Sample{};

  EXPECT_EQ(restore(unknown, copy).error().code(), Errc::corrupt);
  EXPECT_EQ(restore(foreign, copy).error().code(), Errc::corrupt);
  EXPECT_EQ(restore(short_field, copy).error().code(), Errc::corrupt);
  EXPECT_EQ(restore(bad_bool, copy).error().code(), Errc::corrupt);
  EXPECT_EQ(save(copy), good);
}

}  // namespace
}  // namespace vireo::state
