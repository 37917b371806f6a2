#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <thread>

#include "image/create_vdi.h"
#include "image/testing/random_disk.h"
#include "image/vdi/spec.h"

// QEMU is the independent witness where it can be: for blocks of 1 MiB without a parent.
namespace vireo::image {
namespace {

using namespace image::testing;  // NOLINT: the tests' own vocabulary
constexpr auto following = OpenOptions{.follow_references = true};
// Random changes flush often; CacheMode::unsafe still writes all tables then. VdiCacheModes has the others.
constexpr auto quick = OpenOptions{.format = "vdi", .cache = CacheMode::unsafe, .follow_references = true};

void expect_clean(std::string const& path) { tool({"qemu-img", "check", "-q", "-f", "vdi", path}); }

void overwrite(std::string const& path, u64 at, u32 value) {
  auto bytes = std::vector<std::byte>(4);
  store_le(bytes.data(), value);
  ASSERT_TRUE(host::File::open(path, {.write = true})->write(at, bytes));
}
u32 number_at(std::string const& path, u64 at) {
  auto bytes = std::vector<std::byte>(4);
  EXPECT_TRUE(host::File::open(path, {})->read(at, bytes));
  return load_le<u32>(bytes.data());
}

class VdiKinds : public ::testing::TestWithParam<bool> {};
INSTANTIATE_TEST_SUITE_P(All, VdiKinds, ::testing::Values(false, true));

TEST_P(VdiKinds, StaysCleanAndEqualToAFlatCopyUnderRandomChanges) {
  auto const folder = TestFolder{};
  auto shadow = Shadow((u64{6} << 20) + 512 * 5);
  ASSERT_TRUE(create_vdi(folder / "disk", shadow.size(), {.fixed = GetParam()}));
  change_in_batches(folder / "disk", quick, shadow, 1, 5, 250);
  expect_clean(folder / "disk");
  expect_same_as_qemu_reads(folder, folder / "disk", "vdi", shadow);
}

TEST_P(VdiKinds, FromQemuIsReadAndStaysCleanUnderRandomChanges) {
  auto const folder = TestFolder{};
  auto random = std::mt19937_64{2};
  auto shadow = Shadow(u64{5} << 20);
  std::ranges::copy(noise(1500000, random), shadow.begin() + 1700000);
  write_flat(folder / "flat.in", shadow);
  tool({"qemu-img", "convert", "-f", "raw", "-O", "vdi", "-o", GetParam() ? "static=on" : "static=off",
        folder / "flat.in", folder / "disk"});
  change_in_batches(folder / "disk", quick, shadow, 3, 3, 150);
  expect_clean(folder / "disk");
  expect_same_as_qemu_reads(folder, folder / "disk", "vdi", shadow);
}

TEST(Vdi, IsWrittenByQemuAfterUsAndReadAgain) {
  auto const folder = TestFolder{};
  auto shadow = Shadow(u64{8} << 20);
  ASSERT_TRUE(create_vdi(folder / "disk", shadow.size()));
  change_in_batches(folder / "disk", quick, shadow, 4, 1, 20);
  tool({"qemu-io", "-f", "vdi", "-c", "write -P 0x41 3M 4M", folder / "disk"});
  std::ranges::fill(Bytes{shadow}.subspan(3 << 20, 4 << 20), std::byte{0x41});
  change_in_batches(folder / "disk", quick, shadow, 5, 2, 50);
  expect_clean(folder / "disk");
}

class VdiBlocks : public ::testing::TestWithParam<u32> {};
INSTANTIATE_TEST_SUITE_P(All, VdiBlocks, ::testing::Values(4096u, 65536u, 1u << 20));

TEST_P(VdiBlocks, OverlayLargerThanItsParentStaysEqualToAFlatCopy) {
  auto const folder = TestFolder{};
  auto random = std::mt19937_64{GetParam()};
  auto shadow = noise((1u << 20) + std::size_t{512} * 3, random);
  ASSERT_TRUE(create_vdi(folder / "base.vdi", shadow.size(), {.block_bytes = 4096}));
  ASSERT_TRUE(opened(folder / "base.vdi")->write(0, shadow));
  shadow.resize(u64{4} << 20);
  ASSERT_TRUE(create_vdi(folder / "top.vdi", shadow.size(),
                         {.parent = folder / "base.vdi", .block_bytes = GetParam()}));
  expect_same(*opened(folder / "top.vdi", {.read_only = true, .follow_references = true}), shadow);
  change_in_batches(folder / "top.vdi", quick, shadow, GetParam(), 5, 300);
}

TEST(Vdi, OverlayIsFoundFromAFolderOfSnapshots) {
  auto const folder = TestFolder{};
  ASSERT_TRUE(host::make_folders(folder / "Snapshots"));
  ASSERT_TRUE(create_vdi(folder / "base.vdi", 4 << 20));
  ASSERT_TRUE(opened(folder / "base.vdi")->write(0, Shadow(4096, std::byte{1})));
  ASSERT_TRUE(create_vdi(folder / "Snapshots/a.vdi", 0, {.parent = folder / "base.vdi"}));
  ASSERT_TRUE(opened(folder / "Snapshots/a.vdi", following)->write(4096, Shadow(4096, std::byte{2})));
  ASSERT_TRUE(create_vdi(folder / "Snapshots/b.vdi", 0, {.parent = folder / "Snapshots/a.vdi"}));
  auto bytes = Shadow(12288);
  ASSERT_TRUE(opened(folder / "Snapshots/b.vdi", following)->read(0, bytes));
  EXPECT_EQ(bytes[0], std::byte{1});
  EXPECT_EQ(bytes[4096], std::byte{2});
  EXPECT_EQ(bytes[8192], std::byte{0});
}

TEST(Vdi, RefusesToLookForAParentUnlessAllowed) {
  auto const folder = TestFolder{};
  ASSERT_TRUE(create_vdi(folder / "base.vdi", 4 << 20));
  ASSERT_TRUE(create_vdi(folder / "top.vdi", 0, {.parent = folder / "base.vdi"}));
  EXPECT_EQ(open_image(folder / "top.vdi").error().code(), Errc::denied);
}

TEST(Vdi, RefusesAParentThatWasWrittenSince) {
  auto const folder = TestFolder{};
  ASSERT_TRUE(create_vdi(folder / "base.vdi", 4 << 20));
  ASSERT_TRUE(create_vdi(folder / "top.vdi", 0, {.parent = folder / "base.vdi"}));
  ASSERT_TRUE(opened(folder / "base.vdi"));
  EXPECT_TRUE(open_image(folder / "top.vdi", following));
  ASSERT_TRUE(opened(folder / "base.vdi")->write(0, Shadow(512)));
  EXPECT_EQ(open_image(folder / "top.vdi", following).error().code(), Errc::corrupt);
}

TEST(Vdi, SaysWhereItLookedForAMissingParent) {
  auto const folder = TestFolder{};
  ASSERT_TRUE(host::make_folders(folder / "elsewhere"));
  ASSERT_TRUE(create_vdi(folder / "base.vdi", 4 << 20));
  ASSERT_TRUE(create_vdi(folder / "top.vdi", 0, {.parent = folder / "base.vdi"}));
  ASSERT_EQ(::rename((folder / "base.vdi").c_str(), (folder / "elsewhere/base.vdi").c_str()), 0);
  auto const result = open_image(folder / "top.vdi", following);
  ASSERT_FALSE(result);
  EXPECT_EQ(result.error().code(), Errc::not_found);
  EXPECT_NE(result.error().what().find(folder.path()), std::string::npos) << result.error().what();
  EXPECT_EQ(create_vdi(folder / "new.vdi", 0, {.parent = folder / "elsewhere/base.vdi"}).error().code(),
            Errc::not_found);
}

TEST(Vdi, RefusesRangesOutsideTheDiskAndWritesToAReadOnlyOne) {
  auto const folder = TestFolder{};
  ASSERT_TRUE(create_vdi(folder / "disk", 1 << 20));
  auto bytes = Shadow(4096);
  EXPECT_EQ(opened(folder / "disk")->read((1 << 20) - 512, bytes).error().code(), Errc::invalid);
  EXPECT_EQ(opened(folder / "disk")->write(~u64{0} - 100, bytes).error().code(), Errc::invalid);
  EXPECT_EQ(opened(folder / "disk")->discard(512, ~u64{0}).error().code(), Errc::invalid);
  EXPECT_EQ(opened(folder / "disk")->extent_at(1 << 20).error().code(), Errc::invalid);
  EXPECT_EQ(opened(folder / "disk", {.read_only = true})->write(0, bytes).error().code(), Errc::denied);
}

TEST(Vdi, GivesDiscardedSpaceBackToTheFileSystem) {
  auto const folder = TestFolder{};
  ASSERT_TRUE(create_vdi(folder / "disk", 32 << 20));
  auto const image = opened(folder / "disk");
  ASSERT_TRUE(image->write(0, Shadow(16 << 20, std::byte{5})));
  ASSERT_TRUE(image->discard(0, 16 << 20));
  ASSERT_TRUE(image->flush());
  struct stat status{};
  ASSERT_EQ(::stat((folder / "disk").c_str(), &status), 0);
  EXPECT_LT(status.st_blocks * 512, 2 << 20);
  EXPECT_EQ(image->extent_at(0)->presence, BlockImage::Presence::zero);
}

TEST(Vdi, ReportsExtentsByPresence) {
  auto const folder = TestFolder{};
  ASSERT_TRUE(create_vdi(folder / "base.vdi", 8 << 20));
  ASSERT_TRUE(create_vdi(folder / "top.vdi", 64 << 20, {.parent = folder / "base.vdi"}));
  auto const image = opened(folder / "top.vdi", following);
  ASSERT_TRUE(image->write(1 << 20, Shadow(1 << 20, std::byte{1})));
  ASSERT_TRUE(image->write_zeroes(2 << 20, 1 << 20, true));
  using enum BlockImage::Presence;
  EXPECT_EQ(image->extent_at(0)->presence, absent);
  EXPECT_EQ(image->extent_at(0)->length, 1u << 20);
  EXPECT_EQ(image->extent_at(1 << 20)->presence, data);
  EXPECT_EQ(image->extent_at(2 << 20)->presence, zero);
  EXPECT_EQ(image->extent_at(3 << 20)->length, 5u << 20);
  EXPECT_EQ(image->extent_at(8 << 20)->presence, zero);
  EXPECT_EQ(image->extent_at(8 << 20)->length, 56u << 20);
}

TEST(Vdi, KeepsNeighboursApartWhenManyThreadsWrite) {
  auto const folder = TestFolder{};
  ASSERT_TRUE(create_vdi(folder / "disk", 4 << 20, {.block_bytes = 4096}));
  {
    auto const image = opened(folder / "disk");
    auto threads = std::vector<std::thread>{};
    for (auto number = u64{0}; number < 4; ++number) {
      threads.emplace_back([&image, number] {  // each owns every fourth sector: all share all blocks
        auto const bytes = Shadow(512, static_cast<std::byte>(number + 1));
        for (auto sector = number; sector < (4 << 20) / 512; sector += 4) {
          EXPECT_TRUE(image->write(sector * 512, bytes));
        }
        EXPECT_TRUE(image->flush());
      });
    }
    for (auto& thread : threads) thread.join();
  }
  auto expected = Shadow(4 << 20);
  for (auto at = std::size_t{0}; at < expected.size(); ++at) {
    expected[at] = static_cast<std::byte>(at / 512 % 4 + 1);
  }
  expect_same(*opened(folder / "disk"), expected);
}

TEST(Vdi, KeepsWhatWasFlushedAndCutsOffWhatWasNotWhenTheProcessDies) {
  auto const folder = TestFolder{};
  ASSERT_TRUE(create_vdi(folder / "disk", 32 << 20));
  auto const child = ::fork();
  if (child == 0) {
    auto const image = opened(folder / "disk");
    static_cast<void>(image->write(4096, Shadow(3 << 20, std::byte{0x77})));
    static_cast<void>(image->flush());
    static_cast<void>(image->write(8 << 20, Shadow(8 << 20, std::byte{0x78})));
    ::_exit(0);  // what was not flushed is lost
  }
  ::waitpid(child, nullptr, 0);
  EXPECT_EQ(number_at(folder / "disk", vdi::header_at::blocks_allocated), 12u);
  auto bytes = Shadow(3 << 20);
  {
    auto const image = opened(folder / "disk");
    ASSERT_TRUE(image->read(4096, bytes));
    EXPECT_TRUE(bytes == Shadow(3 << 20, std::byte{0x77}));
    ASSERT_TRUE(image->write(20 << 20, Shadow(512, std::byte{1})));
  }
  EXPECT_EQ(number_at(folder / "disk", vdi::header_at::blocks_allocated), 5u);
  expect_clean(folder / "disk");
}

TEST(Vdi, NamesTheFieldOfADamagedHeader) {
  auto const folder = TestFolder{};
  auto const damaged = [&](u64 at, u32 value) {
    ::unlink((folder / "disk").c_str());
    EXPECT_TRUE(create_vdi(folder / "disk", 4 << 20));
    overwrite(folder / "disk", at, value);
    auto const result = open_image(folder / "disk", {.format = "vdi"});
    return result ? std::string{"opened"} : result.error().what();
  };
  using namespace vdi;
  EXPECT_NE(damaged(header_at::signature, 1).find("signature"), std::string::npos);
  EXPECT_NE(damaged(header_at::version, 0x20000).find("version 2.0"), std::string::npos);
  EXPECT_NE(damaged(header_at::image_type, 9).find("image type"), std::string::npos);
  EXPECT_NE(damaged(header_at::image_type, 3).find("undo"), std::string::npos);
  EXPECT_NE(damaged(header_at::block_size, 0).find("block size"), std::string::npos);
  EXPECT_NE(damaged(header_at::block_size, 1000).find("block size"), std::string::npos);
  EXPECT_NE(damaged(header_at::block_extra, 5).find("extra"), std::string::npos);
  EXPECT_NE(damaged(header_at::blocks, 0xffffffff).find("blocks"), std::string::npos);
  EXPECT_NE(damaged(header_at::blocks, 3).find("disk size"), std::string::npos);
  EXPECT_NE(damaged(header_at::disk_size + 4, 0xffffffff).find("disk size"), std::string::npos);
  EXPECT_NE(damaged(header_at::offset_blocks, 0).find("block table"), std::string::npos);
  EXPECT_NE(damaged(header_at::offset_data, 512).find("offset of the data"), std::string::npos);
  EXPECT_NE(damaged(header_at::sector_size, 4096).find("sector size"), std::string::npos);
}

TEST(Vdi, RefusesAnEntryOutsideTheFileAndServesTheOthers) {
  auto const folder = TestFolder{};
  ASSERT_TRUE(create_vdi(folder / "disk", 4 << 20));
  ASSERT_TRUE(opened(folder / "disk")->write(0, Shadow(512, std::byte{1})));
  overwrite(folder / "disk", number_at(folder / "disk", vdi::header_at::offset_blocks) + 4, 0x00ffffff);
  auto const image = opened(folder / "disk");
  auto bytes = Shadow(512);
  EXPECT_TRUE(image->read(0, bytes));
  EXPECT_EQ(image->read(1 << 20, bytes).error().code(), Errc::corrupt);
  EXPECT_EQ(image->write(1 << 20, bytes).error().code(), Errc::corrupt);
}

TEST(Vdi, RefusesToWriteWhenTwoBlocksLieAtOnePlace) {
  auto const folder = TestFolder{};
  ASSERT_TRUE(create_vdi(folder / "disk", 4 << 20));
  ASSERT_TRUE(opened(folder / "disk")->write(0, Shadow(512, std::byte{1})));
  overwrite(folder / "disk", number_at(folder / "disk", vdi::header_at::offset_blocks) + 4, 0);
  auto const image = opened(folder / "disk");
  auto bytes = Shadow(512);
  EXPECT_TRUE(image->read(1 << 20, bytes));
  EXPECT_EQ(image->write(0, bytes).error().code(), Errc::corrupt);
}

TEST(Vdi, IsNotMadeOfNonsense) {
  auto const folder = TestFolder{};
  EXPECT_EQ(create_vdi(folder / "a", 0).error().code(), Errc::invalid);
  EXPECT_EQ(create_vdi(folder / "a", u64{1} << 60).error().code(), Errc::invalid);
  EXPECT_EQ(create_vdi(folder / "a", 1 << 20, {.block_bytes = 5000}).error().code(), Errc::invalid);
  ASSERT_TRUE(create_vdi(folder / "a", 1 << 20));
  EXPECT_EQ(create_vdi(folder / "a", 1 << 20).error().code(), Errc::busy);
}

class VdiCacheModes : public ::testing::TestWithParam<CacheMode> {};
INSTANTIATE_TEST_SUITE_P(All, VdiCacheModes,
                         ::testing::Values(CacheMode::none, CacheMode::writethrough, CacheMode::directsync,
                                           CacheMode::unsafe));
TEST_P(VdiCacheModes, StayCleanAndEqualToAFlatCopy) {
  auto const folder = TestFolder{};
  auto shadow = Shadow((u64{3} << 20) + 512);
  ASSERT_TRUE(create_vdi(folder / "disk", shadow.size()));
  change_in_batches(folder / "disk", {.cache = GetParam()}, shadow, 11, 2, 40);
  expect_clean(folder / "disk");
  expect_same_as_qemu_reads(folder, folder / "disk", "vdi", shadow);
}

}  // namespace
}  // namespace vireo::image
