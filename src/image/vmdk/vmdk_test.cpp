#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <thread>

#include "image/create_vmdk.h"
#include "image/testing/random_disk.h"
#include "image/vmdk/spec.h"
#include "image/vmdk/stream_writer.h"

// qemu-img and vmdkinfo are the independent witnesses: what one side writes, the other reads.
namespace vireo::image::testing {
namespace {

using ::testing::HasSubstr;

constexpr auto following = OpenOptions{.follow_references = true};

class VmdkKinds : public ::testing::TestWithParam<VmdkOptions> {};
INSTANTIATE_TEST_SUITE_P(
    All, VmdkKinds,
    ::testing::Values(VmdkOptions{.kind = VmdkKind::monolithic_sparse},
                      VmdkOptions{.kind = VmdkKind::monolithic_sparse, .zeroed_grain = true},
                      VmdkOptions{.kind = VmdkKind::monolithic_flat},
                      VmdkOptions{.kind = VmdkKind::split_sparse}, VmdkOptions{.kind = VmdkKind::split_flat},
                      VmdkOptions{.kind = VmdkKind::stream_optimized}));

TEST_P(VmdkKinds, StaysEqualToAFlatCopyUnderRandomChanges) {
  auto const folder = TestFolder{};
  auto shadow = Shadow((u64{6} << 20) + 512 * 5);
  ASSERT_TRUE(create_vmdk(folder / "disk.vmdk", shadow.size(), GetParam()));
  change_in_batches(folder / "disk.vmdk", {}, shadow, 1, 5, 100);
  expect_same(*opened(folder / "disk.vmdk", {.read_only = true}), shadow);
  expect_same_as_qemu_reads(folder, folder / "disk.vmdk", "vmdk", shadow);
  tool({"vmdkinfo", folder / "disk.vmdk"});
}

TEST_P(VmdkKinds, IsKnownByContentAndSizeWhenNew) {
  auto const folder = TestFolder{};
  ASSERT_TRUE(create_vmdk(folder / "disk.vmdk", 5 * GiB + 100, GetParam()));
  EXPECT_EQ(*probe_format(folder / "disk.vmdk"), "vmdk");
  EXPECT_EQ(opened(folder / "disk.vmdk")->geometry().bytes, 5 * GiB + 512);
  EXPECT_THAT(tool({"qemu-img", "info", folder / "disk.vmdk"}), HasSubstr("5368709632 bytes"));
  EXPECT_THAT(tool({"vmdkinfo", folder / "disk.vmdk"}), HasSubstr("5368709632 bytes"));
  EXPECT_EQ(create_vmdk(folder / "disk.vmdk", GiB, GetParam()).error().code(), Errc::busy);
}

TEST_P(VmdkKinds, WritesOverTheEndOfAnExtent) {
  auto const folder = TestFolder{};
  ASSERT_TRUE(create_vmdk(folder / "disk.vmdk", 5 * GiB, GetParam()));
  auto random = std::mt19937_64{2};
  auto const bytes = noise(1 << 20, random);
  auto const at = vmdk::split_extent * vmdk::sector - (1 << 19) - 512;
  auto back = Shadow(bytes.size());
  ASSERT_TRUE(opened(folder / "disk.vmdk")->write(at, bytes));
  ASSERT_TRUE(opened(folder / "disk.vmdk", {.read_only = true})->read(at, back));
  EXPECT_TRUE(back == bytes);
  tool({"qemu-img", "convert", "-f", "vmdk", "-O", "raw", folder / "disk.vmdk", folder / "flat"});
  ASSERT_TRUE(host::File::open(folder / "flat", {})->read(at, back));
  EXPECT_TRUE(back == bytes);
}

struct QemuVmdk {
  std::string options;
};
class VmdkFromQemu : public ::testing::TestWithParam<QemuVmdk> {};
INSTANTIATE_TEST_SUITE_P(All, VmdkFromQemu,
                         ::testing::Values(QemuVmdk{"subformat=monolithicSparse"},
                                           QemuVmdk{"subformat=monolithicSparse,zeroed_grain=on"},
                                           QemuVmdk{"subformat=monolithicSparse,compat6"},
                                           QemuVmdk{"subformat=monolithicFlat"},
                                           QemuVmdk{"subformat=twoGbMaxExtentSparse"},
                                           QemuVmdk{"subformat=twoGbMaxExtentFlat"},
                                           QemuVmdk{"subformat=streamOptimized"}));

TEST_P(VmdkFromQemu, IsReadAndStaysReadableUnderRandomChanges) {
  auto const folder = TestFolder{};
  auto random = std::mt19937_64{7};
  auto shadow = Shadow(u64{5} << 20);
  for (auto& byte : Bytes{shadow}.subspan(100000, 2000000)) byte = static_cast<std::byte>(random() & 3);
  write_flat(folder / "flat.in", shadow);
  tool({"qemu-img", "convert", "-f", "raw", "-O", "vmdk", "-o", GetParam().options, folder / "flat.in",
        folder / "disk.vmdk"});
  {
    auto const image = opened(folder / "disk.vmdk");
    ASSERT_TRUE(image);
    expect_same(*image, shadow);
    for (auto step = 0; step < 150; ++step) change(*image, shadow, random);
    expect_same(*image, shadow);
  }
  expect_same(*opened(folder / "disk.vmdk"), shadow);
  expect_same_as_qemu_reads(folder, folder / "disk.vmdk", "vmdk", shadow);
}

class VmdkChildren : public ::testing::TestWithParam<VmdkOptions> {};
INSTANTIATE_TEST_SUITE_P(All, VmdkChildren,
                         ::testing::Values(VmdkOptions{.kind = VmdkKind::monolithic_sparse},
                                           VmdkOptions{.kind = VmdkKind::monolithic_sparse,
                                                       .zeroed_grain = true},
                                           VmdkOptions{.kind = VmdkKind::split_sparse}));

TEST_P(VmdkChildren, StayEqualToAFlatCopyOverTheirParent) {
  auto const folder = TestFolder{};
  auto random = std::mt19937_64{3};
  auto shadow = Shadow((u64{4} << 20) + 1024);
  ASSERT_TRUE(create_vmdk(folder / "base.vmdk", shadow.size()));
  {
    auto const image = opened(folder / "base.vmdk");
    for (auto step = 0; step < 20; ++step) change(*image, shadow, random);
  }
  auto options = GetParam();
  options.parent = "base.vmdk";
  ASSERT_TRUE(create_vmdk(folder / "top.vmdk", 0, options));
  change_in_batches(folder / "top.vmdk", following, shadow, 1, 3, 100);
  expect_same_as_qemu_reads(folder, folder / "top.vmdk", "vmdk", shadow);
}

TEST(Vmdk, ReadsAChainThatQemuMade) {
  auto const folder = TestFolder{};
  tool({"qemu-img", "create", "-q", "-f", "vmdk", folder / "a.vmdk", "4M"});
  tool({"qemu-io", "-f", "vmdk", "-c", "write -P 1 0 1M", folder / "a.vmdk"});
  tool({"qemu-img", "create", "-q", "-f", "vmdk", "-b", folder / "a.vmdk", "-F", "vmdk", folder / "b.vmdk"});
  tool({"qemu-io", "-f", "vmdk", "-c", "write -P 2 512k 1M", folder / "b.vmdk"});
  tool({"qemu-img", "create", "-q", "-f", "vmdk", "-b", folder / "b.vmdk", "-F", "vmdk", folder / "c.vmdk"});
  auto bytes = Shadow(4 << 20);
  ASSERT_TRUE(opened(folder / "c.vmdk", {.read_only = true, .follow_references = true})->read(0, bytes));
  EXPECT_EQ(bytes[0], std::byte{1});
  EXPECT_EQ(bytes[512 << 10], std::byte{2});
  EXPECT_EQ(bytes[2 << 20], std::byte{0});
}

TEST(Vmdk, OpensAParentOnlyWhenAllowed) {
  auto const folder = TestFolder{};
  ASSERT_TRUE(create_vmdk(folder / "base.vmdk", 1 << 20));
  ASSERT_TRUE(create_vmdk(folder / "top.vmdk", 0, {.parent = "base.vmdk"}));
  auto const result = open_image(folder / "top.vmdk");
  ASSERT_FALSE(result);
  EXPECT_EQ(result.error().code(), Errc::denied);
  EXPECT_THAT(result.error().what(), HasSubstr("base.vmdk"));
}

TEST(Vmdk, RefusesAParentThatWasChangedBehindItsChild) {
  auto const folder = TestFolder{};
  ASSERT_TRUE(create_vmdk(folder / "base.vmdk", 1 << 20));
  ASSERT_TRUE(create_vmdk(folder / "top.vmdk", 0, {.parent = "base.vmdk"}));
  ASSERT_TRUE(opened(folder / "base.vmdk")->flush());  // opening for writing alone changes nothing
  ASSERT_TRUE(open_image(folder / "top.vmdk", following));
  ASSERT_TRUE(opened(folder / "base.vmdk")->write(0, Shadow(512)));
  auto const result = open_image(folder / "top.vmdk", following);
  ASSERT_FALSE(result);
  EXPECT_THAT(result.error().what(), HasSubstr("has changed"));
}

TEST(Vmdk, RefusesAnImageThatIsItsOwnParent) {
  auto const folder = TestFolder{};
  ASSERT_TRUE(create_vmdk(folder / "a.vmdk", 1 << 20));
  ASSERT_TRUE(create_vmdk(folder / "b.vmdk", 0, {.parent = "a.vmdk"}));
  std::filesystem::rename(folder / "b.vmdk", folder / "a.vmdk");
  auto const result = open_image(folder / "a.vmdk", {.read_only = true, .follow_references = true});
  ASSERT_FALSE(result);
  EXPECT_THAT(result.error().what(), HasSubstr("own backing file"));
}

TEST(Vmdk, OpensAForeignExtentOnlyWhenAllowed) {
  auto const folder = TestFolder{};
  write_flat(folder / "secret", Shadow(1 << 20, std::byte{7}));
  auto const text = [](std::string const& name) {
    return "# Disk DescriptorFile\nversion=1\nCID=1\nparentCID=ffffffff\ncreateType=\"vmfs\"\nRW 2048 VMFS \"" +
           name + "\"\n";
  };
  ASSERT_TRUE(host::write_text(folder / "disk.vmdk", text("secret")));
  EXPECT_EQ(open_image(folder / "disk.vmdk").error().code(), Errc::denied);
  auto bytes = Shadow(512);
  ASSERT_TRUE(opened(folder / "disk.vmdk", following)->read(0, bytes));
  EXPECT_EQ(bytes[0], std::byte{7});
  std::filesystem::create_symlink("secret", folder / "disk-flat.vmdk");
  ASSERT_TRUE(host::write_text(folder / "disk.vmdk", text("disk-flat.vmdk")));
  EXPECT_EQ(open_image(folder / "disk.vmdk").error().code(), Errc::denied);
  std::filesystem::remove(folder / "disk-flat.vmdk");
  std::filesystem::rename(folder / "secret", folder / "disk-flat.vmdk");
  EXPECT_TRUE(open_image(folder / "disk.vmdk"));
}

TEST(Vmdk, ReadsASeSparseExtentAsQemuDoes) {
  auto const folder = TestFolder{};
  auto random = std::mt19937_64{4};
  auto shadow = Shadow(1 << 20);
  auto const data = noise(4096, random);
  auto file = Shadow((512 << 10) + std::size_t{8192});
  auto const put = [&](u64 at, u64 value) { store_le<u64>(file.data() + at, value); };
  using namespace vmdk::sesparse;
  put(at::magic, magic);
  put(at::version, version);
  put(at::capacity, 2048);
  put(at::grain_size, 8);
  put(at::table_size, 64);
  put(at::volatile_header, 1);
  put(at::volatile_header_size, 1);
  put(96, 2);  // journal header
  put(104, 2);
  put(112, 2048);  // journal
  put(120, 2048);
  put(at::directory, 8);
  put(at::directory_size, 1);
  put(at::tables, 16);
  put(at::tables_size, 64);
  put(at::grains, 1024);
  put(at::grains_size, 16);
  put(512, volatile_magic);
  put(8 * 512, directory_allocated);
  put(16 * 512 + 3 * 8, entry_allocated | (u64{1} << 48));  // grain 3 of the disk: grain 1 of the file
  put(16 * 512 + 4 * 8, entry_zero);
  std::ranges::copy(data, file.begin() + (512 << 10) + 4096);
  std::ranges::copy(data, shadow.begin() + std::ptrdiff_t{3} * 4096);
  write_flat(folder / "disk-sesparse.vmdk", file);
  ASSERT_TRUE(host::write_text(folder / "disk.vmdk",
                               "# Disk DescriptorFile\nversion=1\nCID=0000aaaa\nparentCID=ffffffff\ncreateType="
                               "\"seSparse\"\nRW 2048 SESPARSE \"disk-sesparse.vmdk\"\n"));
  expect_same(*opened(folder / "disk.vmdk", {.read_only = true}), shadow);
  EXPECT_EQ(open_image(folder / "disk.vmdk").error().code(), Errc::unsupported);
}

TEST(Vmdk, WritesAStreamFromFrontToBack) {
  auto const folder = TestFolder{};
  auto random = std::mt19937_64{5};
  auto shadow = Shadow((u64{70} << 20) + 512);
  {
    auto writer = *vmdk::StreamWriter::create(folder / "disk.vmdk", shadow.size());
    for (auto const grain : {u64{0}, u64{3}, u64{600}, u64{1120}}) {
      auto const at = grain * vmdk::StreamWriter::grain;
      auto const bytes = noise(std::min(vmdk::StreamWriter::grain, shadow.size() - at), random);
      ASSERT_TRUE(writer.append(grain, bytes));
      std::ranges::copy(bytes, shadow.begin() + static_cast<std::ptrdiff_t>(at));
    }
    EXPECT_EQ(writer.append(3, shadow).error().code(), Errc::invalid);
    ASSERT_TRUE(writer.finish());
  }
  expect_same_as_qemu_reads(folder, folder / "disk.vmdk", "vmdk", shadow);
  expect_same(*opened(folder / "disk.vmdk", {.read_only = true}), shadow);
  {
    auto const image = opened(folder / "disk.vmdk");
    for (auto step = 0; step < 100; ++step) change(*image, shadow, random);
  }
  expect_same(*opened(folder / "disk.vmdk"), shadow);
  expect_same_as_qemu_reads(folder, folder / "disk.vmdk", "vmdk", shadow);
}

TEST(Vmdk, GivesDiscardedSpaceBackAndUsesItAgain) {
  auto const folder = TestFolder{};
  ASSERT_TRUE(create_vmdk(folder / "disk.vmdk", 32 << 20));
  auto const image = opened(folder / "disk.vmdk");
  ASSERT_TRUE(image->write(0, Shadow(16 << 20, std::byte{5})));
  ASSERT_TRUE(image->flush());
  ASSERT_TRUE(image->discard(0, 16 << 20));
  ASSERT_TRUE(image->flush());
  struct stat status{};
  ASSERT_EQ(::stat((folder / "disk.vmdk").c_str(), &status), 0);
  EXPECT_LT(status.st_blocks * 512, 2 << 20);
  auto const size = status.st_size;
  ASSERT_TRUE(image->write((16 << 20) + 1024, Shadow(1 << 20, std::byte{6})));
  ASSERT_EQ(::stat((folder / "disk.vmdk").c_str(), &status), 0);
  EXPECT_EQ(status.st_size, size);
  auto bytes = Shadow(1024);
  ASSERT_TRUE(image->read(16 << 20, bytes));
  EXPECT_TRUE(bytes == Shadow(1024)) << "a place used again was zeroed around the write";
}

TEST(Vmdk, KeepsNeighboursApartWhenManyThreadsWrite) {
  auto const folder = TestFolder{};
  ASSERT_TRUE(create_vmdk(folder / "disk.vmdk", 8 << 20));
  {
    auto const image = opened(folder / "disk.vmdk");
    auto threads = std::vector<std::thread>{};
    for (auto number = u64{0}; number < 4; ++number) {
      threads.emplace_back([&image, number] {  // each owns every fourth sector: all share all grains
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
  expect_same(*opened(folder / "disk.vmdk"), expected);
  expect_same_as_qemu_reads(folder, folder / "disk.vmdk", "vmdk", expected);
}

TEST(Vmdk, KeepsWhatWasFlushedWhenTheProcessDies) {
  auto const folder = TestFolder{};
  ASSERT_TRUE(create_vmdk(folder / "disk.vmdk", 8 << 20));
  auto const child = ::fork();
  if (child == 0) {
    auto random = std::mt19937_64{5};
    auto unused = Shadow(8 << 20);
    auto const image = opened(folder / "disk.vmdk");
    for (auto step = 0; step < 50; ++step) change(*image, unused, random);
    static_cast<void>(image->write(4096, Shadow(1 << 20, std::byte{0x77})));
    static_cast<void>(image->flush());
    static_cast<void>(image->write(5 << 20, noise(1 << 20, random)));
    static_cast<void>(image->discard(2 << 20, 1 << 20));
    ::_exit(0);  // what was not flushed is lost
  }
  ::waitpid(child, nullptr, 0);
  auto bytes = Shadow(1 << 20);
  ASSERT_TRUE(opened(folder / "disk.vmdk")->read(4096, bytes));
  EXPECT_TRUE(bytes == Shadow(1 << 20, std::byte{0x77}));
}

TEST(Vmdk, RefusesRangesOutsideTheDiskWritesToAReadOnlyOneAndASecondWriter) {
  auto const folder = TestFolder{};
  ASSERT_TRUE(create_vmdk(folder / "disk.vmdk", 1 << 20, {.kind = VmdkKind::split_flat}));
  auto bytes = Shadow(4096);
  EXPECT_EQ(opened(folder / "disk.vmdk")->read((1 << 20) - 512, bytes).error().code(), Errc::invalid);
  EXPECT_EQ(opened(folder / "disk.vmdk")->write(~u64{0} - 100, bytes).error().code(), Errc::invalid);
  EXPECT_EQ(opened(folder / "disk.vmdk")->discard(512, ~u64{0}).error().code(), Errc::invalid);
  EXPECT_EQ(opened(folder / "disk.vmdk", {.read_only = true})->write(0, bytes).error().code(), Errc::denied);
  auto const user = opened(folder / "disk.vmdk");
  EXPECT_EQ(open_image(folder / "disk.vmdk").error().code(), Errc::busy);
}

TEST(Vmdk, ReportsExtentsByPresence) {
  auto const folder = TestFolder{};
  ASSERT_TRUE(create_vmdk(folder / "base.vmdk", 1 << 20));
  ASSERT_TRUE(create_vmdk(folder / "top.vmdk", 4 << 20, {.parent = "base.vmdk", .zeroed_grain = true}));
  auto const image = opened(folder / "top.vmdk", following);
  ASSERT_TRUE(image->write(65536, Shadow(65536, std::byte{1})));
  ASSERT_TRUE(image->write_zeroes(131072, 65536, true));
  using enum BlockImage::Presence;
  EXPECT_EQ(image->extent_at(0)->presence, absent);
  EXPECT_EQ(image->extent_at(0)->length, 65536u);
  EXPECT_EQ(image->extent_at(65536)->presence, data);
  EXPECT_EQ(image->extent_at(131072)->presence, zero);
  EXPECT_EQ(image->extent_at(262144)->length, (1u << 20) - 262144);
  EXPECT_EQ(image->extent_at(1 << 20)->presence, zero);
  EXPECT_EQ(image->extent_at(1 << 20)->length, 3u << 20);
}

TEST(Vmdk, SurvivesAnyOneByteOfItsMetadataChanged) {
  auto const folder = TestFolder{};
  auto random = std::mt19937_64{6};
  ASSERT_TRUE(create_vmdk(folder / "disk.vmdk", 1 << 20));
  ASSERT_TRUE(opened(folder / "disk.vmdk")->write(0, noise(200000, random)));
  auto const good = file_bytes(folder / "disk.vmdk");
  auto bytes = Shadow(1 << 20);
  for (auto step = 0; step < 600; ++step) {
    auto bad = good;
    auto const at = step < 250 ? random() % 128 : random() % (128 * 512);
    bad[at] = static_cast<std::byte>(random());
    write_flat(folder / "disk.vmdk", bad);
    auto const image = open_image(folder / "disk.vmdk", {.format = "vmdk"});
    if (!image) continue;
    auto const length = std::min<u64>((*image)->geometry().bytes, bytes.size());
    static_cast<void>((*image)->read(0, Bytes{bytes}.first(length)));
    static_cast<void>((*image)->write(length / 2, Bytes{bytes}.first(length / 2)));
  }
}

TEST(Vmdk, RefusesATableThatLeadsAGuestOntoTheDescriptor) {
  auto const folder = TestFolder{};
  ASSERT_TRUE(create_vmdk(folder / "disk.vmdk", 1 << 20));
  {
    auto const file = *host::File::open(folder / "disk.vmdk", {.write = true});
    auto entry = Shadow(8);
    ASSERT_TRUE(file.read(vmdk::sparse_at::directory, entry));
    auto const directory = load_le<u64>(entry.data()) * 512;
    ASSERT_TRUE(file.read(directory, Bytes{entry}.first(4)));
    auto const table = u64{load_le<u32>(entry.data())} * 512;
    store_le<u32>(entry.data(), 1);
    ASSERT_TRUE(file.write(table, Bytes{entry}.first(4)));
  }
  auto const image = opened(folder / "disk.vmdk");
  auto const result = image->write(0, Shadow(512));
  ASSERT_FALSE(result);
  EXPECT_EQ(result.error().code(), Errc::corrupt);
  EXPECT_THAT(result.error().what(), HasSubstr("0x200"));
}

TEST(Vmdk, SaysWhichLineOfTheDescriptorIsWrong) {
  auto const folder = TestFolder{};
  ASSERT_TRUE(
      host::write_text(folder / "disk.vmdk", "# Disk DescriptorFile\nversion=1\nRW many FLAT \"a\" 0\n"));
  auto const result = open_image(folder / "disk.vmdk");
  ASSERT_FALSE(result);
  EXPECT_THAT(result.error().what(), HasSubstr("line 3: an extent of many sectors"));
}

TEST_P(VmdkKinds, StaysEqualToAFlatCopyWhenFourThreadsChangeIt) {
  auto const folder = TestFolder{};
  auto shadow = Shadow((u64{9} << 20) + 512);
  ASSERT_TRUE(create_vmdk(folder / "disk.vmdk", shadow.size(), GetParam()));
  for (auto round = 0; round < 2; ++round) {
    auto const image = opened(folder / "disk.vmdk");
    change_from_threads(*image, shadow, 60);
    expect_same(*image, shadow);
  }
  expect_same_as_qemu_reads(folder, folder / "disk.vmdk", "vmdk", shadow);
}

class VmdkCacheModes : public ::testing::TestWithParam<CacheMode> {};
INSTANTIATE_TEST_SUITE_P(All, VmdkCacheModes,
                         ::testing::Values(CacheMode::none, CacheMode::writethrough, CacheMode::directsync,
                                           CacheMode::unsafe));
TEST_P(VmdkCacheModes, StayEqualToAFlatCopy) {
  auto const folder = TestFolder{};
  auto shadow = Shadow((u64{3} << 20) + 512);
  ASSERT_TRUE(create_vmdk(folder / "disk.vmdk", shadow.size()));
  change_in_batches(folder / "disk.vmdk", {.cache = GetParam()}, shadow, 11, 2, 40);
  expect_same_as_qemu_reads(folder, folder / "disk.vmdk", "vmdk", shadow);
}

}  // namespace
}  // namespace vireo::image::testing
