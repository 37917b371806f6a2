#include "host/file.h"

#include <gtest/gtest.h>

#include "host/test_folder.h"

namespace vireo::host {
namespace {

constexpr auto created = File::Flags{.write = true, .create = true};

std::vector<std::byte> filled(std::size_t count, u8 value) {
  return std::vector<std::byte>(count, std::byte{value});
}

TEST(File, ReadsBackWhatWasWrittenAtAnOffset) {
  auto const folder = TestFolder{};
  auto const file = *File::open(folder / "a", created);
  ASSERT_TRUE(file.write(1000, filled(5000, 0x5a)));
  auto bytes = std::vector<std::byte>(5000);
  ASSERT_TRUE(file.read(1000, bytes));
  EXPECT_EQ(bytes, filled(5000, 0x5a));
  EXPECT_EQ(*file.size(), 6000u);
}

TEST(File, ReportsAReadBehindTheEndWithPathAndOffset) {
  auto const folder = TestFolder{};
  auto const file = *File::open(folder / "short", created);
  auto bytes = std::vector<std::byte>(16);
  auto const result = file.read(512, bytes);
  ASSERT_FALSE(result);
  EXPECT_EQ(result.error().code(), Errc::io);
  EXPECT_NE(result.error().what().find("short"), std::string::npos);
  EXPECT_NE(result.error().what().find("512"), std::string::npos);
}

TEST(File, RefusesOffsetsThatTheSystemCannotHold) {
  auto const folder = TestFolder{};
  auto const file = *File::open(folder / "a", created);
  auto bytes = std::vector<std::byte>(16);
  EXPECT_FALSE(file.read(~u64{0}, bytes));
  EXPECT_FALSE(file.write(~u64{0} - 4, bytes));
}

TEST(File, ReportsHolesAndData) {
  auto const folder = TestFolder{};
  auto const file = *File::open(folder / "sparse", created);
  ASSERT_TRUE(file.truncate(4u << 20));
  ASSERT_TRUE(file.write(2u << 20, filled(65536, 1)));
  auto const hole = *file.extent_at(0);
  EXPECT_FALSE(hole.data);
  EXPECT_EQ(hole.length, 2u << 20);
  EXPECT_TRUE(file.extent_at(2u << 20)->data);
}

TEST(File, ReadsZeroesWhereAHoleWasPunched) {
  auto const folder = TestFolder{};
  auto const file = *File::open(folder / "a", created);
  ASSERT_TRUE(file.write(0, filled(1 << 20, 7)));
  ASSERT_TRUE(file.punch_hole(65536, 65536));
  auto bytes = filled(65536, 9);
  ASSERT_TRUE(file.read(65536, bytes));
  EXPECT_EQ(bytes, filled(65536, 0));
}

TEST(File, RefusesASecondWriterAndNamesTheFile) {
  auto const folder = TestFolder{};
  auto const first = *File::open(folder / "disk", created);
  auto const second = *File::open(folder / "disk", created);
  ASSERT_TRUE(first.lock(File::Lock::exclusive));
  auto const refused = second.lock(File::Lock::shared);
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().code(), Errc::busy);
  EXPECT_NE(refused.error().what().find("disk"), std::string::npos);
}

TEST(File, LetsReadersShareAndAWriterInAfterThem) {
  auto const folder = TestFolder{};
  auto const first = *File::open(folder / "disk", created);
  auto const second = *File::open(folder / "disk", created);
  ASSERT_TRUE(first.lock(File::Lock::shared));
  ASSERT_TRUE(second.lock(File::Lock::shared));
  EXPECT_FALSE(second.lock(File::Lock::exclusive));
  ASSERT_TRUE(first.unlock());
  EXPECT_TRUE(second.lock(File::Lock::exclusive));
}

TEST(WholeFile, ReplacesTextInOneStep) {
  auto const folder = TestFolder{};
  ASSERT_TRUE(make_folders(folder / "x/y/z"));
  ASSERT_TRUE(write_text(folder / "x/y/z/note", "first"));
  ASSERT_TRUE(write_text(folder / "x/y/z/note", "second"));
  EXPECT_EQ(*read_text(folder / "x/y/z/note"), "second");
}

}  // namespace
}  // namespace vireo::host
