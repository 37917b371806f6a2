#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <thread>

#include "image/create_vhdx.h"
#include "image/testing/random_disk.h"
#include "image/vhdx/crc32c.h"
#include "image/vhdx/spec.h"

// qemu-img and vhdiinfo are the independent witnesses: what one side writes, the other reads.
namespace vireo::image::testing {
namespace {

using ::testing::HasSubstr;

constexpr auto following = OpenOptions{.follow_references = true};
constexpr u64 our_bat{3 * MiB};  // where create_vhdx puts it

void expect_clean(std::string const& path) { tool({"qemu-img", "check", "-q", "-f", "vhdx", path}); }

class VhdxKinds : public ::testing::TestWithParam<VhdxOptions> {};
INSTANTIATE_TEST_SUITE_P(All, VhdxKinds,
                         ::testing::Values(VhdxOptions{}, VhdxOptions{.block = 1 * MiB},
                                           VhdxOptions{.block = 32 * MiB}, VhdxOptions{.fixed = true}));

TEST_P(VhdxKinds, StaysCleanAndEqualToAFlatCopyUnderRandomChanges) {
  auto const folder = TestFolder{};
  auto shadow = Shadow((u64{12} << 20) + 512 * 5);
  ASSERT_TRUE(create_vhdx(folder / "disk.vhdx", shadow.size(), GetParam()));
  change_in_batches(folder / "disk.vhdx", {}, shadow, 1, 5, 100);
  expect_same(*opened(folder / "disk.vhdx", {.read_only = true}), shadow);
  expect_clean(folder / "disk.vhdx");
  expect_same_as_qemu_reads(folder, folder / "disk.vhdx", "vhdx", shadow);
  EXPECT_THAT(tool({"vhdiinfo", folder / "disk.vhdx"}), HasSubstr(std::to_string(shadow.size())));
}

TEST(Vhdx, WithSectorsOf4KiBStaysEqualToAFlatCopy) {
  auto const folder = TestFolder{};
  auto random = std::mt19937_64{2};
  auto shadow = Shadow((u64{8} << 20) + 4096);
  ASSERT_TRUE(create_vhdx(folder / "disk.vhdx", shadow.size() - 1000, {.logical_sector = 4096}));
  for (auto round = 0; round < 3; ++round) {
    auto const image = opened(folder / "disk.vhdx");
    EXPECT_EQ(image->geometry().sector, 4096u);
    for (auto step = 0; step < 100; ++step) change(*image, shadow, random);
    expect_same(*image, shadow);
  }
  EXPECT_THAT(tool({"vhdiinfo", folder / "disk.vhdx"}), HasSubstr("4096"));
}

TEST(Vhdx, IsKnownByContentAndSizeWhenNew) {
  auto const folder = TestFolder{};
  ASSERT_TRUE(create_vhdx(folder / "disk.vhdx", u64{3} << 40));
  EXPECT_EQ(*probe_format(folder / "disk.vhdx"), "vhdx");
  auto const image = opened(folder / "disk.vhdx");
  EXPECT_EQ(image->geometry().bytes, u64{3} << 40);
  ASSERT_TRUE(image->write((u64{3} << 40) - 512, Shadow(512, std::byte{9})));
  auto bytes = Shadow(1024);
  ASSERT_TRUE(image->read((u64{3} << 40) - 1024, bytes));
  EXPECT_EQ(bytes[511], std::byte{0});
  EXPECT_EQ(bytes[512], std::byte{9});
  ASSERT_TRUE(image->flush());
  EXPECT_EQ(create_vhdx(folder / "disk.vhdx", MiB).error().code(), Errc::busy);
}

class VhdxFromQemu : public ::testing::TestWithParam<std::string> {};
INSTANTIATE_TEST_SUITE_P(All, VhdxFromQemu,
                         ::testing::Values("subformat=dynamic", "subformat=dynamic,block_size=1M",
                                           "subformat=dynamic,block_state_zero=off", "subformat=fixed",
                                           "subformat=dynamic,log_size=4M"));

TEST_P(VhdxFromQemu, IsReadAndStaysCleanUnderRandomChanges) {
  auto const folder = TestFolder{};
  auto random = std::mt19937_64{7};
  auto shadow = Shadow(u64{9} << 20);
  for (auto& byte : Bytes{shadow}.subspan(100000, 2000000)) byte = static_cast<std::byte>(random() & 3);
  write_flat(folder / "flat.in", shadow);
  tool({"qemu-img", "convert", "-f", "raw", "-O", "vhdx", "-o", GetParam(), folder / "flat.in",
        folder / "disk.vhdx"});
  {
    auto const image = opened(folder / "disk.vhdx");
    ASSERT_TRUE(image);
    expect_same(*image, shadow);
    for (auto step = 0; step < 100; ++step) change(*image, shadow, random);
    expect_same(*image, shadow);
  }
  expect_same(*opened(folder / "disk.vhdx"), shadow);
  expect_clean(folder / "disk.vhdx");
  expect_same_as_qemu_reads(folder, folder / "disk.vhdx", "vhdx", shadow);
}

TEST(Vhdx, ChildrenStayEqualToAFlatCopyOverTheirParent) {
  auto const folder = TestFolder{};
  auto random = std::mt19937_64{3};
  auto shadow = Shadow((u64{10} << 20) + 1024);
  ASSERT_TRUE(host::make_folders(folder / "sub"));
  ASSERT_TRUE(create_vhdx(folder / "base.vhdx", shadow.size()));
  {
    auto const image = opened(folder / "base.vhdx");
    for (auto step = 0; step < 15; ++step) change(*image, shadow, random);
  }
  ASSERT_TRUE(create_vhdx(folder / "sub/top.vhdx", 0, {.parent = "../base.vhdx", .block = 1 * MiB}));
  change_in_batches(folder / "sub/top.vhdx", following, shadow, 1, 4, 100);
  auto const info = tool({"vhdiinfo", folder / "sub/top.vhdx"});
  EXPECT_THAT(info, HasSubstr("Differential"));
}

TEST(Vhdx, OpensAParentOnlyWhenAllowedAndUnchanged) {
  auto const folder = TestFolder{};
  ASSERT_TRUE(create_vhdx(folder / "base.vhdx", 4 << 20));
  ASSERT_TRUE(create_vhdx(folder / "top.vhdx", 0, {.parent = "base.vhdx"}));
  auto const denied = open_image(folder / "top.vhdx");
  ASSERT_FALSE(denied);
  EXPECT_EQ(denied.error().code(), Errc::denied);
  EXPECT_THAT(denied.error().what(), HasSubstr("base.vhdx"));
  ASSERT_TRUE(opened(folder / "base.vhdx")->flush());  // opening for writing alone changes nothing
  ASSERT_TRUE(open_image(folder / "top.vhdx", following));
  ASSERT_TRUE(opened(folder / "base.vhdx")->write(0, Shadow(512)));
  auto const changed = open_image(folder / "top.vhdx", following);
  ASSERT_FALSE(changed);
  EXPECT_THAT(changed.error().what(), HasSubstr("has changed"));
}

/// A child whose first block is partial: its second and third MiB/4 lie in it, the rest in the parent.
struct PartialChild {
  TestFolder folder;
  Shadow shadow = Shadow(4 << 20);
  std::mt19937_64 random{4};

  PartialChild() {
    EXPECT_TRUE(create_vhdx(folder / "base.vhdx", shadow.size()));
    auto const below = noise(shadow.size(), random);
    EXPECT_TRUE(opened(folder / "base.vhdx")->write(0, below));
    EXPECT_TRUE(create_vhdx(folder / "top.vhdx", 0, {.parent = "base.vhdx", .block = 1 * MiB}));
    auto const above = noise(1 * MiB, random);
    EXPECT_TRUE(opened(folder / "top.vhdx", following)->write(0, above));
    shadow = below;
    std::copy_n(above.begin() + 256 * 1024, 512 * 1024, shadow.begin() + 256 * 1024);
    auto const file = *host::File::open(folder / "top.vhdx", {.write = true});
    auto const bitmap_at = *file.size();
    EXPECT_TRUE(file.truncate(bitmap_at + MiB));
    EXPECT_TRUE(file.write(bitmap_at + 512 / 8, Shadow(1024 / 8, std::byte{0xff})));
    auto entry = Shadow(8);
    EXPECT_TRUE(file.read(our_bat, entry));
    store_le<u64>(entry.data(), load_le<u64>(entry.data()) | 7);  // fully present is 6
    EXPECT_TRUE(file.write(our_bat, entry));
    store_le<u64>(entry.data(), bitmap_at | 6);
    EXPECT_TRUE(file.write(our_bat + u64{4096} * 8, entry));  // behind a chunk of 4096 blocks
  }
};

TEST(Vhdx, ReadsAPartialBlockFromBothLayers) {
  auto const child = PartialChild{};
  auto const image = opened(child.folder / "top.vhdx", {.read_only = true, .follow_references = true});
  expect_same(*image, child.shadow);
  using enum BlockImage::Presence;
  EXPECT_EQ(image->extent_at(0)->presence, absent);
  EXPECT_EQ(image->extent_at(0)->length, 256u * 1024);
  EXPECT_EQ(image->extent_at(256 * 1024)->presence, data);
  EXPECT_EQ(image->extent_at(256 * 1024)->length, 512u * 1024);
}

TEST(Vhdx, CompletesAPartialBlockBeforeItWritesToIt) {
  auto child = PartialChild{};
  {
    auto const image = opened(child.folder / "top.vhdx", following);
    auto const bytes = noise(1024, child.random);
    ASSERT_TRUE(image->write(800 * 1024, bytes));
    std::ranges::copy(bytes, child.shadow.begin() + std::ptrdiff_t{800} * 1024);
    expect_same(*image, child.shadow);
    for (auto step = 0; step < 60; ++step) change(*image, child.shadow, child.random);
  }
  expect_same(*opened(child.folder / "top.vhdx", following), child.shadow);
}

/// A file whose log holds what its table has lost.
struct LostTable {
  TestFolder folder;
  Shadow shadow = Shadow(8 << 20);

  void lose(u64 bat) {
    auto const file = *host::File::open(folder / "disk.vhdx", {.write = true});
    ASSERT_TRUE(file.write(bat, Shadow(4096)));
  }
  void make_ours() {
    auto random = std::mt19937_64{5};
    ASSERT_TRUE(create_vhdx(folder / "live.vhdx", shadow.size()));
    auto const image = opened(folder / "live.vhdx");
    for (auto step = 0; step < 20; ++step) change(*image, shadow, random);
    ASSERT_TRUE(image->flush());
    ASSERT_TRUE(image->write(3 << 20, Shadow(4096, std::byte{5})));
    std::fill_n(shadow.begin() + (3 << 20), 4096, std::byte{5});
    ASSERT_TRUE(image->write_zeroes(0, 2 << 20, true));
    std::fill_n(shadow.begin(), 2 << 20, std::byte{0});
    ASSERT_TRUE(image->flush());
    std::filesystem::copy(folder / "live.vhdx", folder / "disk.vhdx");
    lose(our_bat);
  }
};

TEST(Vhdx, ReplaysItsLogInMemoryWhenReadOnly) {
  auto lost = LostTable{};
  lost.make_ours();
  auto const before = file_bytes(lost.folder / "disk.vhdx");
  expect_same(*opened(lost.folder / "disk.vhdx", {.read_only = true}), lost.shadow);
  EXPECT_TRUE(file_bytes(lost.folder / "disk.vhdx") == before);
}

TEST(Vhdx, ReplaysItsLogIntoTheFileWhenWritable) {
  auto lost = LostTable{};
  lost.make_ours();
  expect_same(*opened(lost.folder / "disk.vhdx"), lost.shadow);
  expect_clean(lost.folder / "disk.vhdx");
  expect_same_as_qemu_reads(lost.folder, lost.folder / "disk.vhdx", "vhdx", lost.shadow);
}

TEST(Vhdx, WritesALogThatQemuReplays) {
  auto lost = LostTable{};
  lost.make_ours();
  auto const check = host::run_process(
      {.arguments = {"qemu-img", "check", "-q", "-r", "all", "-f", "vhdx", lost.folder / "disk.vhdx"}});
  ASSERT_TRUE(check);
  expect_same_as_qemu_reads(lost.folder, lost.folder / "disk.vhdx", "vhdx", lost.shadow);
}

/// QEMU empties its log at once: the headers are made to name the fourth entry, which still lies there.
void bring_qemus_log_back(std::string const& path) {
  auto const file = *host::File::open(path, {.write = true});
  auto id = Shadow(16);
  ASSERT_TRUE(file.read(MiB + 0x6000 + vhdx::log_at::log, id));
  ASSERT_NE(id, Shadow(16));
  for (auto const at : {vhdx::first_header, vhdx::second_header}) {
    auto header = Shadow(vhdx::header_at::length);
    ASSERT_TRUE(file.read(at, header));
    std::ranges::copy(id, header.begin() + vhdx::header_at::log);
    store_le<u32>(header.data() + vhdx::header_at::checksum, vhdx::crc32c(header, vhdx::header_at::checksum));
    ASSERT_TRUE(file.write(at, header));
  }
}

TEST(Vhdx, ReplaysALogThatQemuLeftBehind) {
  auto lost = LostTable{};
  auto const path = lost.folder / "disk.vhdx";
  tool({"qemu-img", "create", "-q", "-f", "vhdx", "-o", "block_size=1M", path, "8M"});
  tool({"qemu-io", "-f", "vhdx", "-c", "write -P 7 0 3M", "-c", "write -P 9 5M 1M", path});
  std::fill_n(lost.shadow.begin(), 3 << 20, std::byte{7});
  std::fill_n(lost.shadow.begin() + (5 << 20), 1 << 20, std::byte{9});
  bring_qemus_log_back(path);
  lost.lose(2 * MiB);  // QEMU's table
  expect_same(*opened(path, {.read_only = true}), lost.shadow);
  expect_same(*opened(path), lost.shadow);
  expect_clean(path);
  expect_same_as_qemu_reads(lost.folder, path, "vhdx", lost.shadow);
}

TEST(Vhdx, RefusesALogInUseWithoutAValidEntry) {
  auto lost = LostTable{};
  lost.make_ours();
  auto const file = *host::File::open(lost.folder / "disk.vhdx", {.write = true});
  ASSERT_TRUE(file.write(MiB, Shadow(MiB)));
  auto const result = open_image(lost.folder / "disk.vhdx");
  ASSERT_FALSE(result);
  EXPECT_THAT(result.error().what(), HasSubstr("holds no valid entries"));
}

TEST(Vhdx, FallsBackToTheLogEntryBeforeATornOne) {
  auto lost = LostTable{};
  lost.make_ours();
  auto const file = *host::File::open(lost.folder / "disk.vhdx", {.write = true});
  auto torn = Shadow(64);
  ASSERT_TRUE(file.read(MiB, torn));
  auto other = Shadow(64);
  ASSERT_TRUE(file.read(MiB + MiB / 2, other));
  auto const newest = load_le<u64>(torn.data() + 16) > load_le<u64>(other.data() + 16) ? MiB : MiB + MiB / 2;
  ASSERT_TRUE(file.write(newest + 4096 + 100, Shadow(1, std::byte{0x5a})));
  EXPECT_TRUE(open_image(lost.folder / "disk.vhdx"));
}

TEST(Vhdx, GivesDiscardedSpaceBackAndUsesItAgain) {
  auto const folder = TestFolder{};
  ASSERT_TRUE(create_vhdx(folder / "disk.vhdx", 32 << 20));
  auto const image = opened(folder / "disk.vhdx");
  ASSERT_TRUE(image->write(0, Shadow(16 << 20, std::byte{5})));
  ASSERT_TRUE(image->flush());
  ASSERT_TRUE(image->discard(0, 16 << 20));
  ASSERT_TRUE(image->flush());
  struct stat status{};
  ASSERT_EQ(::stat((folder / "disk.vhdx").c_str(), &status), 0);
  EXPECT_LT(status.st_blocks * 512, 4 << 20);
  auto const size = status.st_size;
  ASSERT_TRUE(image->write((16 << 20) + 1024, Shadow(1 << 20, std::byte{6})));
  ASSERT_EQ(::stat((folder / "disk.vhdx").c_str(), &status), 0);
  EXPECT_EQ(status.st_size, size);
  auto bytes = Shadow(1024);
  ASSERT_TRUE(image->read(16 << 20, bytes));
  EXPECT_TRUE(bytes == Shadow(1024)) << "a place used again was zeroed around the write";
}

TEST(Vhdx, KeepsNeighboursApartWhenManyThreadsWrite) {
  auto const folder = TestFolder{};
  ASSERT_TRUE(create_vhdx(folder / "disk.vhdx", 8 << 20, {.block = 1 * MiB}));
  {
    auto const image = opened(folder / "disk.vhdx");
    auto threads = std::vector<std::thread>{};
    for (auto number = u64{0}; number < 4; ++number) {
      threads.emplace_back([&image, number] {  // each owns every fourth sector: all share all blocks
        auto const bytes = Shadow(512, static_cast<std::byte>(number + 1));
        for (auto sector = number; sector < (8 << 20) / 512; sector += 4) {
          EXPECT_TRUE(image->write(sector * 512, bytes));
        }
        EXPECT_TRUE(image->flush());
      });
    }
    for (auto& thread : threads) thread.join();
  }
  auto expected = Shadow(8 << 20);
  for (auto at = std::size_t{0}; at < expected.size(); ++at)
    expected[at] = static_cast<std::byte>(at / 512 % 4 + 1);
  expect_same(*opened(folder / "disk.vhdx"), expected);
  expect_clean(folder / "disk.vhdx");
}

TEST(Vhdx, KeepsWhatWasFlushedWhenTheProcessDies) {
  auto const folder = TestFolder{};
  ASSERT_TRUE(create_vhdx(folder / "disk.vhdx", 16 << 20));
  auto const child = ::fork();
  if (child == 0) {
    auto random = std::mt19937_64{5};
    auto unused = Shadow(16 << 20);
    auto const image = opened(folder / "disk.vhdx");
    for (auto step = 0; step < 50; ++step) change(*image, unused, random);
    static_cast<void>(image->write(4096, Shadow(1 << 20, std::byte{0x77})));
    static_cast<void>(image->flush());
    static_cast<void>(image->write(5 << 20, noise(1 << 20, random)));
    static_cast<void>(image->discard(8 << 20, 4 << 20));
    ::_exit(0);  // what was not flushed is lost
  }
  ::waitpid(child, nullptr, 0);
  auto bytes = Shadow(1 << 20);
  ASSERT_TRUE(opened(folder / "disk.vhdx", {.read_only = true})->read(4096, bytes));
  EXPECT_TRUE(bytes == Shadow(1 << 20, std::byte{0x77}));
  bytes = Shadow(1 << 20);
  ASSERT_TRUE(opened(folder / "disk.vhdx")->read(4096, bytes));
  EXPECT_TRUE(bytes == Shadow(1 << 20, std::byte{0x77}));
  expect_clean(folder / "disk.vhdx");
}

TEST(Vhdx, KeepsThePlacesOfAFixedDisk) {
  auto const folder = TestFolder{};
  ASSERT_TRUE(create_vhdx(folder / "disk.vhdx", 4 << 20, {.fixed = true}));
  auto const image = opened(folder / "disk.vhdx");
  auto const table = file_bytes(folder / "disk.vhdx");
  ASSERT_TRUE(image->write(0, Shadow(4 << 20, std::byte{5})));
  ASSERT_TRUE(image->discard(0, 2 << 20));
  ASSERT_TRUE(image->write_zeroes(2 << 20, 2 << 20, true));
  ASSERT_TRUE(image->flush());
  expect_same(*image, Shadow(4 << 20));
  auto const after = file_bytes(folder / "disk.vhdx");
  EXPECT_TRUE(std::equal(table.begin() + our_bat, table.begin() + our_bat + 64, after.begin() + our_bat));
}

TEST(Vhdx, RefusesRangesOutsideTheDiskWritesToAReadOnlyOneAndASecondWriter) {
  auto const folder = TestFolder{};
  ASSERT_TRUE(create_vhdx(folder / "disk.vhdx", 1 << 20));
  auto bytes = Shadow(4096);
  EXPECT_EQ(opened(folder / "disk.vhdx")->read((1 << 20) - 512, bytes).error().code(), Errc::invalid);
  EXPECT_EQ(opened(folder / "disk.vhdx")->write(~u64{0} - 100, bytes).error().code(), Errc::invalid);
  EXPECT_EQ(opened(folder / "disk.vhdx")->discard(512, ~u64{0}).error().code(), Errc::invalid);
  EXPECT_EQ(opened(folder / "disk.vhdx", {.read_only = true})->write(0, bytes).error().code(), Errc::denied);
  auto const user = opened(folder / "disk.vhdx");
  EXPECT_EQ(open_image(folder / "disk.vhdx").error().code(), Errc::busy);
}

TEST(Vhdx, RefusesATableThatLeadsAGuestOntoTheMetadata) {
  auto const folder = TestFolder{};
  ASSERT_TRUE(create_vhdx(folder / "disk.vhdx", 1 << 20));
  auto entry = Shadow(8);
  store_le<u64>(entry.data(), 2 * MiB | 6);
  ASSERT_TRUE(host::File::open(folder / "disk.vhdx", {.write = true})->write(our_bat, entry));
  auto const result = opened(folder / "disk.vhdx")->write(0, Shadow(512));
  ASSERT_FALSE(result);
  EXPECT_EQ(result.error().code(), Errc::corrupt);
  EXPECT_THAT(result.error().what(), HasSubstr("0x200000"));
}

TEST(Vhdx, SurvivesAnyOneByteOfItsMetadataChanged) {
  auto const folder = TestFolder{};
  auto random = std::mt19937_64{6};
  ASSERT_TRUE(create_vhdx(folder / "disk.vhdx", 4 << 20, {.block = 1 * MiB}));
  ASSERT_TRUE(opened(folder / "disk.vhdx")->write(0, noise(200000, random)));
  auto const path = folder / "disk.vhdx";
  auto const file = *host::File::open(path, {.write = true});
  constexpr auto places = std::array<u64, 5>{64 * KiB, 192 * KiB, 2 * MiB, 2 * MiB + 64 * KiB, our_bat};
  auto bytes = Shadow(1 << 20);
  for (auto step = 0; step < 500; ++step) {
    auto const place = places[random() % places.size()];
    auto good = Shadow(64 * KiB);
    ASSERT_TRUE(file.read(place, good));
    auto bad = good;
    bad[random() % 128] = static_cast<std::byte>(random());
    if (place < MiB) {  // with its checksum put right
      auto const length = place == 64 * KiB ? u64{4096} : 64 * KiB;
      store_le<u32>(bad.data() + 4, vhdx::crc32c(ConstBytes{bad}.first(length), 4));
    }
    ASSERT_TRUE(file.write(place, bad));
    if (auto const image = open_image(path, {.format = "vhdx", .read_only = true})) {
      auto const length = std::min<u64>((*image)->geometry().bytes, bytes.size());
      static_cast<void>((*image)->read(0, Bytes{bytes}.first(length)));
    }
    ASSERT_TRUE(file.write(place, good));
  }
}

TEST(Vhdx, ChecksumIsCastagnolis) {
  auto bytes = Shadow(36);  // RFC 3720 B.4 gives 8a9136aa for 32 zeroes
  EXPECT_EQ(vhdx::crc32c(Bytes{bytes}.first(32), 8), 0x8a9136aau);
}

TEST(Vhdx, StaysEqualToAFlatCopyWhenFourThreadsChangeIt) {
  auto const folder = TestFolder{};
  auto shadow = Shadow((u64{9} << 20) + 512);
  ASSERT_TRUE(create_vhdx(folder / "disk.vhdx", shadow.size(), {.block = 1 * MiB}));
  for (auto round = 0; round < 2; ++round) {
    auto const image = opened(folder / "disk.vhdx");
    change_from_threads(*image, shadow, 60);
    expect_same(*image, shadow);
  }
  expect_same_as_qemu_reads(folder, folder / "disk.vhdx", "vhdx", shadow);
}

class VhdxCacheModes : public ::testing::TestWithParam<CacheMode> {};
INSTANTIATE_TEST_SUITE_P(All, VhdxCacheModes,
                         ::testing::Values(CacheMode::none, CacheMode::writethrough, CacheMode::directsync,
                                           CacheMode::unsafe));
TEST_P(VhdxCacheModes, StayEqualToAFlatCopy) {
  auto const folder = TestFolder{};
  auto shadow = Shadow((u64{3} << 20) + 512);
  ASSERT_TRUE(create_vhdx(folder / "disk.vhdx", shadow.size(), {.block = 1 * MiB}));
  change_in_batches(folder / "disk.vhdx", {.cache = GetParam()}, shadow, 11, 2, 20);
  expect_same_as_qemu_reads(folder, folder / "disk.vhdx", "vhdx", shadow);
}

}  // namespace
}  // namespace vireo::image::testing
