#include <gtest/gtest.h>

#include "host/file.h"
#include "host/test_folder.h"
#include "image/create_qcow2.h"
#include "image/open_image.h"

namespace vireo::image {
namespace {

std::string raw_file(host::TestFolder const& folder, u64 bytes) {
  auto const path = folder / "disk.raw";
  EXPECT_TRUE(host::File::open(path, {.write = true, .create = true})->truncate(bytes));
  return path;
}

TEST(Raw, RefusesAGuestThatTurnsAGuessedDiskIntoAnotherFormat) {
  auto const folder = host::TestFolder{};
  auto const path = raw_file(folder, 1 << 20);
  ASSERT_TRUE(create_qcow2(folder / "evil", 1 << 20));
  auto const header = *host::read_text(folder / "evil");
  auto const bytes = std::as_bytes(std::span{header}).first(512);
  EXPECT_EQ((*open_image(path))->write(0, bytes).error().code(), Errc::denied);
  EXPECT_EQ((*open_image(path))->write(2, bytes.subspan(2)).has_value(), true);
  EXPECT_TRUE((*open_image(path, {.format = "raw"}))->write(0, bytes));
}

TEST(Raw, RoundsTheSizeUpWithZeroes) {
  auto const folder = host::TestFolder{};
  auto const path = raw_file(folder, 1000);
  auto const image = *open_image(path);
  EXPECT_EQ(image->geometry().bytes, 1024u);
  auto bytes = std::vector<std::byte>(512, std::byte{1});
  ASSERT_TRUE(image->read(512, bytes));
  EXPECT_EQ(bytes, std::vector<std::byte>(512));
  EXPECT_EQ(image->read(1024, bytes).error().code(), Errc::invalid);
}

TEST(Raw, ReadsZeroesAfterDiscardAndTellsHolesFromData) {
  auto const folder = host::TestFolder{};
  auto const image = *open_image(raw_file(folder, 4 << 20), {.format = "raw"});
  ASSERT_TRUE(image->write(0, std::vector<std::byte>(2 << 20, std::byte{1})));
  ASSERT_TRUE(image->discard(1 << 20, 1 << 20));
  EXPECT_EQ(image->extent_at(0)->presence, BlockImage::Presence::data);
  EXPECT_EQ(image->extent_at(0)->length, 1u << 20);
  EXPECT_EQ(image->extent_at(1 << 20)->presence, BlockImage::Presence::zero);
}

TEST(Raw, NamesTheFormatsWhenAskedForAnUnknownOne) {
  auto const folder = host::TestFolder{};
  auto const result = open_image(raw_file(folder, 512), {.format = "qcow3"});
  ASSERT_FALSE(result);
  EXPECT_NE(result.error().what().find(", raw"), std::string::npos) << result.error().what();
}

}  // namespace
}  // namespace vireo::image
