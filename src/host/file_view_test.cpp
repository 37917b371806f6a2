#include "host/file_view.h"

#include <gtest/gtest.h>

#include <algorithm>

#include "host/test_folder.h"

namespace vireo::host {
namespace {

File file_of(TestFolder const& folder, std::size_t bytes) {
  auto file = *File::open(folder / "file", {.write = true, .create = true});
  EXPECT_TRUE(file.write(0, std::vector<std::byte>(bytes, std::byte{7})));
  return file;
}

TEST(FileView, ShowsTheRangesBytesUpToTheEndOfTheFile) {
  auto const folder = TestFolder{};
  auto const view = *FileView::create(file_of(folder, 10000));
  auto const seen = view.populated(4000, 9000);
  EXPECT_EQ(seen.size(), 6000u);
  EXPECT_TRUE(std::ranges::all_of(seen, [](std::byte each) { return each == std::byte{7}; }));
  EXPECT_TRUE(view.populated(10000, 1).empty());
}

TEST(FileView, IsEmptyWhereTheFileIsGone) {
  auto const folder = TestFolder{};
  auto const file = file_of(folder, 65536);
  auto const view = *FileView::create(file);
  ASSERT_TRUE(file.truncate(4096));
  EXPECT_EQ(view.populated(0, 4096).size(), 4096u);
  EXPECT_TRUE(view.populated(8192, 4096).empty());
}

TEST(FileView, EndsTheProcessTidilyWhenTheFileShrinksLater) {
  auto const folder = TestFolder{};
  auto const file = file_of(folder, 65536);
  auto const read_after_shrinking = [&] {
    auto const view = *FileView::create(file);
    auto const seen = view.populated(8192, 4096);
    static_cast<void>(file.truncate(0));
    std::exit(std::to_integer<int>(seen[0]) + 100);
  };
  EXPECT_EXIT(read_after_shrinking(), ::testing::ExitedWithCode(1), "got shorter");
}

TEST(FileView, IsNotThereForAnEmptyFile) {
  auto const folder = TestFolder{};
  EXPECT_EQ(FileView::create(file_of(folder, 0)).error().code(), Errc::unsupported);
}

}  // namespace
}  // namespace vireo::host
