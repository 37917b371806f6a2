#include <unistd.h>

#include <thread>

#include "image/create_vhd.h"
#include "image/testing/random_disk.h"
#include "image/vhd/libvhdi_witness.h"

// Differencing disks.
namespace vireo::image {
namespace {

using namespace image::testing;  // NOLINT: the tests' own vocabulary
constexpr auto following = OpenOptions{.follow_references = true};
// Random changes flush often; CacheMode::unsafe still writes all tables then. VhdCacheModes of vhd_test.cpp has
// the others.
constexpr auto quick = OpenOptions{.format = "vhd", .cache = CacheMode::unsafe, .follow_references = true};

class VhdBlocks : public ::testing::TestWithParam<u32> {};
INSTANTIATE_TEST_SUITE_P(All, VhdBlocks, ::testing::Values(4096u, 65536u, 2u << 20));

TEST_P(VhdBlocks, OverlayStaysEqualToAFlatCopy) {
  auto const folder = TestFolder{};
  auto random = std::mt19937_64{GetParam()};
  auto shadow = noise((3u << 20) + std::size_t{512} * 3, random);
  ASSERT_TRUE(create_vhd(folder / "base.vhd", shadow.size(), {.block_bytes = 65536}));
  ASSERT_TRUE(opened(folder / "base.vhd")->write(0, shadow));
  ASSERT_TRUE(create_vhd(folder / "top.vhd", 0, {.parent = folder / "base.vhd", .block_bytes = GetParam()}));
  expect_same(*opened(folder / "top.vhd", {.read_only = true, .follow_references = true}), shadow);
  change_in_batches(folder / "top.vhd", quick, shadow, GetParam(), 5, 300);
}

/// In steps of 4 KiB and blocks of 2 MiB: of a bitmap's byte, libvhdi 20210425 takes every sector behind the
/// first present one for present, and in smaller blocks it reads the bitmap's padding as if it were sectors.
TEST(VhdParent, OverlayIsReadByLibvhdi) {
  auto const folder = TestFolder{};
  auto random = std::mt19937_64{6};
  auto shadow = noise(9u << 20, random);
  ASSERT_TRUE(create_vhd(folder / "base.vhd", shadow.size()));
  ASSERT_TRUE(opened(folder / "base.vhd")->write(0, shadow));
  ASSERT_TRUE(create_vhd(folder / "top.vhd", 0, {.parent = folder / "base.vhd"}));
  {
    auto const image = opened(folder / "top.vhd", quick);
    for (auto step = 0; step < 300; ++step) {
      auto const at = random() % (shadow.size() / 4096) * 4096;
      auto const bytes = noise(4096, random);
      ASSERT_TRUE(image->write(at, bytes));
      std::ranges::copy(bytes, shadow.begin() + static_cast<std::ptrdiff_t>(at));
    }
  }
  expect_same_as_libvhdi_reads(folder, {folder / "top.vhd", folder / "base.vhd"}, shadow);
}

TEST(VhdParent, OverlayLargerThanItsParentReadsZeroesBehindIt) {
  auto const folder = TestFolder{};
  auto random = std::mt19937_64{9};
  auto shadow = noise((1u << 20) + std::size_t{512} * 3, random);
  ASSERT_TRUE(create_vhd(folder / "base.vhd", shadow.size(), {.fixed = true}));
  ASSERT_TRUE(opened(folder / "base.vhd", {.format = "vhd"})->write(0, shadow));
  shadow.resize(u64{5} << 20);
  ASSERT_TRUE(create_vhd(folder / "top.vhd", shadow.size(), {.parent = folder / "base.vhd"}));
  change_in_batches(folder / "top.vhd", quick, shadow, 9, 3, 200);
}

TEST(VhdParent, ReadsAChainOfThreeByRelativePathsThatMovesAsAWhole) {
  auto const folder = TestFolder{};
  ASSERT_TRUE(host::make_folders(folder / "here/sub"));
  ASSERT_TRUE(create_vhd(folder / "here/a.vhd", 4 << 20));
  ASSERT_TRUE(opened(folder / "here/a.vhd")->write(0, Shadow(4096, std::byte{1})));
  ASSERT_TRUE(create_vhd(folder / "here/sub/b.vhd", 0, {.parent = folder / "here/a.vhd"}));
  ASSERT_TRUE(opened(folder / "here/sub/b.vhd", following)->write(4096, Shadow(4096, std::byte{2})));
  ASSERT_TRUE(create_vhd(folder / "here/c.vhd", 0, {.parent = folder / "here/sub/b.vhd"}));
  ASSERT_EQ(::rename((folder / "here").c_str(), (folder / "there").c_str()), 0);
  auto expected = Shadow(4 << 20);
  std::fill_n(expected.begin(), 4096, std::byte{1});
  std::fill_n(expected.begin() + 4096, 4096, std::byte{2});
  expect_same(*opened(folder / "there/c.vhd", following), expected);
  expect_same_as_libvhdi_reads(
      folder, {folder / "there/c.vhd", folder / "there/sub/b.vhd", folder / "there/a.vhd"}, expected);
}

TEST(VhdParent, FindsAParentByItsAbsolutePathWhenTheChildMovesAlone) {
  auto const folder = TestFolder{};
  ASSERT_TRUE(host::make_folders(folder / "sub"));
  ASSERT_TRUE(create_vhd(folder / "base.vhd", 4 << 20));
  ASSERT_TRUE(create_vhd(folder / "top.vhd", 0, {.parent = folder / "base.vhd"}));
  ASSERT_EQ(::rename((folder / "top.vhd").c_str(), (folder / "sub/top.vhd").c_str()), 0);
  EXPECT_TRUE(open_image(folder / "sub/top.vhd", following));
}

TEST(VhdParent, TellsVhdinfoItsParentsName) {
  auto const folder = TestFolder{};
  ASSERT_TRUE(create_vhd(folder / "bäse.vhd", 4 << 20));
  ASSERT_TRUE(create_vhd(folder / "top.vhd", 0, {.parent = folder / "bäse.vhd"}));
  auto const output = tool({"vhdiinfo", folder / "top.vhd"});
  EXPECT_NE(output.find("Differential"), std::string::npos) << output;
  EXPECT_NE(output.find("se.vhd"), std::string::npos) << output;
  EXPECT_TRUE(open_image(folder / "top.vhd", following));
}

TEST(VhdParent, RefusesToFollowAParentUnlessAllowed) {
  auto const folder = TestFolder{};
  ASSERT_TRUE(create_vhd(folder / "base.vhd", 4 << 20));
  ASSERT_TRUE(create_vhd(folder / "top.vhd", 0, {.parent = folder / "base.vhd"}));
  EXPECT_EQ(open_image(folder / "top.vhd").error().code(), Errc::denied);
}

TEST(VhdParent, RefusesAParentOfAnotherUuidAndAFileThatIsNoVhd) {
  auto const folder = TestFolder{};
  ASSERT_TRUE(create_vhd(folder / "base.vhd", 4 << 20));
  ASSERT_TRUE(create_vhd(folder / "top.vhd", 0, {.parent = folder / "base.vhd"}));
  ::unlink((folder / "base.vhd").c_str());
  EXPECT_EQ(open_image(folder / "top.vhd", following).error().code(), Errc::not_found);
  ASSERT_TRUE(create_vhd(folder / "base.vhd", 4 << 20));
  EXPECT_EQ(open_image(folder / "top.vhd", following).error().code(), Errc::corrupt);
  write_flat(folder / "base.vhd", Shadow(1 << 20, std::byte{7}));
  EXPECT_EQ(open_image(folder / "top.vhd", following).error().code(), Errc::corrupt);
}

TEST(VhdParent, ReportsExtentsBySector) {
  auto const folder = TestFolder{};
  ASSERT_TRUE(create_vhd(folder / "base.vhd", 8 << 20));
  ASSERT_TRUE(create_vhd(folder / "top.vhd", 64 << 20, {.parent = folder / "base.vhd"}));
  auto const image = opened(folder / "top.vhd", following);
  ASSERT_TRUE(image->write(1 << 20, Shadow(4096, std::byte{1})));
  using enum BlockImage::Presence;
  EXPECT_EQ(image->extent_at(0)->presence, absent);
  EXPECT_EQ(image->extent_at(0)->length, 1u << 20);
  EXPECT_EQ(image->extent_at(1 << 20)->presence, data);
  EXPECT_EQ(image->extent_at(1 << 20)->length, 4096u);
  EXPECT_EQ(image->extent_at((1 << 20) + 4096)->length, (7u << 20) - 4096);
  EXPECT_EQ(image->extent_at(8 << 20)->presence, zero);
  EXPECT_EQ(image->extent_at(8 << 20)->length, 56u << 20);
}

TEST(VhdParent, KeepsNeighboursApartWhenManyThreadsWriteToAnOverlay) {
  auto const folder = TestFolder{};
  ASSERT_TRUE(create_vhd(folder / "base.vhd", 4 << 20));
  ASSERT_TRUE(create_vhd(folder / "disk.vhd", 0, {.parent = folder / "base.vhd", .block_bytes = 8192}));
  {
    auto const image = opened(folder / "disk.vhd", following);
    auto threads = std::vector<std::thread>{};
    for (auto number = u64{0}; number < 4; ++number) {
      threads.emplace_back(
          [&image, number] {  // each owns every fourth quarter of a sector: all share all sectors
            auto const bytes = Shadow(128, static_cast<std::byte>(number + 1));
            for (auto part = number; part < (1 << 20) / 128; part += 4) {
              EXPECT_TRUE(image->write(part * 128, bytes));
            }
            EXPECT_TRUE(image->flush());
          });
    }
    for (auto& thread : threads) thread.join();
  }
  auto expected = Shadow(4 << 20);
  for (auto at = std::size_t{0}; at < (1 << 20); ++at) expected[at] = static_cast<std::byte>(at / 128 % 4 + 1);
  expect_same(*opened(folder / "disk.vhd", following), expected);
}

}  // namespace
}  // namespace vireo::image
