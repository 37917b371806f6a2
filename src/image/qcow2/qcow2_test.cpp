#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <random>
#include <thread>

#include "host/file.h"
#include "host/process.h"
#include "host/test_folder.h"
#include "image/create_qcow2.h"
#include "image/open_image.h"
#include "image/qcow2/spec.h"

// QEMU's tools are the independent witness: what one side writes, the other reads and checks.
namespace vireo::image {
namespace {

using host::TestFolder;
using Shadow = std::vector<std::byte>;

/// Runs a tool and yields what it prints; its failure fails the test.
std::string tool(std::vector<std::string> arguments) {
  auto const command = arguments.front();
  auto const result = host::run_process({.arguments = std::move(arguments),
                                         .output = host::Process::Stream::capture,
                                         .error = host::Process::Stream::capture});
  EXPECT_TRUE(result) << result.error().what();
  EXPECT_TRUE(result->status.success()) << command << ": " << result->output << result->error;
  return result->output;
}
void expect_clean(std::string const& path) { tool({"qemu-img", "check", "-q", "-f", "qcow2", path}); }
void expect_same_as_qemu_reads(TestFolder const& folder, std::string const& path, Shadow const& shadow) {
  tool({"qemu-img", "convert", "-f", "qcow2", "-O", "raw", path, folder / "flat.raw"});
  auto const flat = host::read_text(folder / "flat.raw", 1 << 30);
  ASSERT_TRUE(flat);
  ASSERT_EQ(flat->size(), shadow.size());
  EXPECT_TRUE(std::memcmp(flat->data(), shadow.data(), shadow.size()) == 0);
}
void expect_same(BlockImage& image, Shadow const& shadow) {
  auto bytes = Shadow(shadow.size());
  auto const read = image.read(0, bytes);
  ASSERT_TRUE(read) << read.error().what();
  EXPECT_TRUE(bytes == shadow);
}

std::unique_ptr<BlockImage> opened(std::string const& path,
                                   OpenOptions const& options = {.follow_references = true}) {
  auto image = open_image(path, options);
  EXPECT_TRUE(image) << image.error().what();
  return image ? std::move(*image) : nullptr;
}

std::vector<std::byte> noise(std::size_t count, std::mt19937_64& random) {
  auto bytes = std::vector<std::byte>(count);
  for (auto& byte : bytes) byte = static_cast<std::byte>(random() | 1);
  return bytes;
}

/// One random write, zeroing, discard or flush on both the image and its flat copy. Discarded clusters read as
/// zeroes here since the shadow cannot know otherwise: only cluster-aligned ranges are discarded.
void change(BlockImage& image, Shadow& shadow, std::mt19937_64& random) {
  auto const cluster = image.geometry().cluster;
  auto const at = random() % shadow.size() / 512 * 512;
  auto const length = std::min<u64>((random() % (4 * cluster) / 512 + 1) * 512, shadow.size() - at);
  auto const part = Bytes{shadow}.subspan(at, length);
  switch (random() % 8) {
    case 0: {
      auto const start = align_down(at, cluster);
      auto const end = std::min<u64>(align_up(at + length, cluster), shadow.size());
      ASSERT_TRUE(image.discard(start, end - start));
      std::ranges::fill(Bytes{shadow}.subspan(start, end - start), std::byte{0});
      break;
    }
    case 1:
    case 2: {
      auto const zeroed = image.write_zeroes(at, length, random() % 2 == 0);
      ASSERT_TRUE(zeroed) << zeroed.error().what();
      std::ranges::fill(part, std::byte{0});
      break;
    }
    case 3: ASSERT_TRUE(image.flush()); break;
    default: {
      auto const bytes = noise(length, random);
      auto const written = image.write(at, bytes);
      ASSERT_TRUE(written) << written.error().what();
      std::ranges::copy(bytes, part.begin());
    }
  }
}

class Qcow2ClusterSizes : public testing::TestWithParam<u32> {};
INSTANTIATE_TEST_SUITE_P(All, Qcow2ClusterSizes, testing::Values(9u, 12u, 16u, 18u));

TEST_P(Qcow2ClusterSizes, StaysCleanAndEqualToAFlatCopyUnderRandomChanges) {
  auto const folder = TestFolder{};
  auto random = std::mt19937_64{GetParam()};
  auto shadow = Shadow(u64{6} << 20);
  ASSERT_TRUE(create_qcow2(folder / "disk", shadow.size(), {}, GetParam()));
  for (auto round = 0; round < 3; ++round) {
    auto const image = opened(folder / "disk");
    for (auto step = 0; step < 100; ++step) change(*image, shadow, random);
    expect_same(*image, shadow);
  }
  expect_clean(folder / "disk");
  expect_same_as_qemu_reads(folder, folder / "disk", shadow);
}

TEST_P(Qcow2ClusterSizes, OverlayLargerThanItsBackingFileStaysEqualToAFlatCopy) {
  auto const folder = TestFolder{};
  auto random = std::mt19937_64{GetParam()};
  auto shadow = noise((1u << 20) + std::size_t{512} * 3, random);
  ASSERT_TRUE(host::write_text(folder / "base.raw",
                               std::string_view{reinterpret_cast<char const*>(shadow.data()), shadow.size()}));
  shadow.resize(u64{4} << 20);
  ASSERT_TRUE(create_qcow2(folder / "top", shadow.size(), {"base.raw", "raw"}, GetParam()));
  {
    auto const image = opened(folder / "top");
    expect_same(*image, shadow);
    for (auto step = 0; step < 150; ++step) change(*image, shadow, random);
    expect_same(*image, shadow);
  }
  expect_clean(folder / "top");
  expect_same_as_qemu_reads(folder, folder / "top", shadow);
}

struct QemuImage {
  std::string options;
  bool compressed{};
};
class Qcow2FromQemu : public testing::TestWithParam<QemuImage> {};
INSTANTIATE_TEST_SUITE_P(
    All, Qcow2FromQemu,
    testing::Values(QemuImage{"compat=0.10"}, QemuImage{"compat=1.1"}, QemuImage{"compat=1.1,refcount_bits=1"},
                    QemuImage{"compat=1.1,refcount_bits=2"}, QemuImage{"compat=1.1,refcount_bits=8"},
                    QemuImage{"compat=1.1,refcount_bits=64"}, QemuImage{"compat=1.1,cluster_size=2M"},
                    QemuImage{"compat=1.1,preallocation=metadata"}, QemuImage{"compat=0.10", true},
                    QemuImage{"compat=1.1,compression_type=zlib", true},
                    QemuImage{"compat=1.1,compression_type=zstd,cluster_size=4k", true}));

TEST_P(Qcow2FromQemu, IsReadAndStaysCleanUnderRandomChanges) {
  auto const folder = TestFolder{};
  auto random = std::mt19937_64{7};
  auto shadow = Shadow(u64{4} << 20);
  for (auto& byte : Bytes{shadow}.subspan(100000, 2000000)) byte = static_cast<std::byte>(random() & 3);
  ASSERT_TRUE(host::write_text(folder / "flat.in",
                               std::string_view{reinterpret_cast<char const*>(shadow.data()), shadow.size()}));
  auto arguments = std::vector<std::string>{
      "qemu-img",         "convert",          "-f",           "raw", "-O", "qcow2", "-o",
      GetParam().options, folder / "flat.in", folder / "disk"};
  if (GetParam().compressed) arguments.insert(arguments.begin() + 2, "-c");
  tool(std::move(arguments));
  {
    auto const image = opened(folder / "disk");
    ASSERT_TRUE(image);
    expect_same(*image, shadow);
    for (auto step = 0; step < 60; ++step) change(*image, shadow, random);
    expect_same(*image, shadow);
  }
  expect_clean(folder / "disk");
  expect_same_as_qemu_reads(folder, folder / "disk", shadow);
}

TEST(Qcow2, LeavesInternalSnapshotsUntouched) {
  auto const folder = TestFolder{};
  auto random = std::mt19937_64{3};
  tool({"qemu-img", "create", "-q", "-f", "qcow2", folder / "disk", "2M"});
  tool({"qemu-io", "-f", "qcow2", "-c", "write -P 0x41 0 1M", folder / "disk"});
  tool({"qemu-img", "snapshot", "-c", "before", folder / "disk"});
  {
    auto shadow = Shadow(2 << 20);
    auto const image = opened(folder / "disk");
    ASSERT_TRUE(image->read(0, shadow));
    for (auto step = 0; step < 60; ++step) change(*image, shadow, random);
    expect_same(*image, shadow);
  }
  expect_clean(folder / "disk");
  tool({"qemu-img", "snapshot", "-a", "before", folder / "disk"});
  auto const output =
      tool({"qemu-io", "-f", "qcow2", "-c", "read -P 0x41 0 1M", "-c", "read -P 0 1M 1M", folder / "disk"});
  EXPECT_EQ(output.find("failed"), std::string::npos) << output;
}

TEST(Qcow2, ReadsAChainOfThreeWithRelativePaths) {
  auto const folder = TestFolder{};
  ASSERT_TRUE(host::make_folders(folder / "sub"));
  ASSERT_TRUE(create_qcow2(folder / "a", 1 << 20));
  ASSERT_TRUE(opened(folder / "a")->write(0, Shadow(4096, std::byte{1})));
  ASSERT_TRUE(create_qcow2(folder / "sub/b", 0, {"../a", "qcow2"}));
  ASSERT_TRUE(opened(folder / "sub/b")->write(4096, Shadow(4096, std::byte{2})));
  ASSERT_TRUE(create_qcow2(folder / "c", 0, {"sub/b", "qcow2"}));
  auto bytes = Shadow(12288);
  ASSERT_TRUE(opened(folder / "c")->read(0, bytes));
  EXPECT_EQ(bytes[0], std::byte{1});
  EXPECT_EQ(bytes[4096], std::byte{2});
  EXPECT_EQ(bytes[8192], std::byte{0});
}

TEST(Qcow2, RefusesAnImageThatIsItsOwnBackingFile) {
  auto const folder = TestFolder{};
  ASSERT_TRUE(create_qcow2(folder / "a", 1 << 20));
  ASSERT_TRUE(create_qcow2(folder / "b", 0, {"a", "qcow2"}));
  tool({"qemu-img", "rebase", "-u", "-f", "qcow2", "-F", "qcow2", "-b", "b", folder / "a"});
  auto const result = open_image(folder / "b", {.read_only = true, .follow_references = true});
  ASSERT_FALSE(result);
  EXPECT_NE(result.error().what().find("own backing file"), std::string::npos) << result.error().what();
}

TEST(Qcow2, RefusesASecondWriterAndAWriterOfABackingFile) {
  auto const folder = TestFolder{};
  ASSERT_TRUE(create_qcow2(folder / "base", 1 << 20));
  ASSERT_TRUE(create_qcow2(folder / "top", 0, {"base", "qcow2"}));
  auto const user = opened(folder / "top");
  EXPECT_EQ(open_image(folder / "top", {.follow_references = true}).error().code(), Errc::busy);
  EXPECT_EQ(open_image(folder / "top", {.read_only = true, .follow_references = true}).error().code(),
            Errc::busy);
  EXPECT_EQ(open_image(folder / "base").error().code(), Errc::busy);
  EXPECT_TRUE(open_image(folder / "base", {.read_only = true}));
}

TEST(Qcow2, FollowsABackingFileOnlyWhenAllowed) {
  auto const folder = TestFolder{};
  ASSERT_TRUE(create_qcow2(folder / "base", 1 << 20));
  ASSERT_TRUE(create_qcow2(folder / "top", 0, {"base", "qcow2"}));
  auto const refused = open_image(folder / "top");
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().code(), Errc::denied);
  EXPECT_NE(refused.error().what().find("--follow-backing"), std::string::npos) << refused.error().what();
  EXPECT_TRUE(open_image(folder / "top", {.follow_references = true}));
}

TEST(Qcow2, NamesAFeatureThatItDoesNotKnow) {
  auto const folder = TestFolder{};
  ASSERT_TRUE(create_qcow2(folder / "disk", 1 << 20));
  {
    auto const file = host::File::open(folder / "disk", {.write = true});
    auto features = std::vector<std::byte>(8);
    features[7] = std::byte{1 << 5};
    ASSERT_TRUE(file->write(qcow2::header_at::incompatible_features, features));
  }
  auto const result = open_image(folder / "disk");
  ASSERT_FALSE(result);
  EXPECT_EQ(result.error().code(), Errc::unsupported);
  EXPECT_NE(result.error().what().find("feature bit 5"), std::string::npos) << result.error().what();
}

TEST(Qcow2, OpensAnImageMarkedDirtyOnlyForReading) {
  auto const folder = TestFolder{};
  ASSERT_TRUE(create_qcow2(folder / "disk", 1 << 20));
  auto const mark = std::byte{1};
  ASSERT_TRUE(host::File::open(folder / "disk", {.write = true})
                  ->write(qcow2::header_at::incompatible_features + 7, {&mark, 1}));
  EXPECT_EQ(open_image(folder / "disk").error().code(), Errc::corrupt);
  EXPECT_TRUE(open_image(folder / "disk", {.read_only = true}));
}

TEST(Qcow2, RefusesRangesOutsideTheDiskAndWritesToAReadOnlyOne) {
  auto const folder = TestFolder{};
  ASSERT_TRUE(create_qcow2(folder / "disk", 1 << 20));
  auto bytes = Shadow(4096);
  EXPECT_EQ(opened(folder / "disk")->read((1 << 20) - 512, bytes).error().code(), Errc::invalid);
  EXPECT_EQ(opened(folder / "disk")->write(~u64{0} - 100, bytes).error().code(), Errc::invalid);
  EXPECT_EQ(opened(folder / "disk")->discard(512, ~u64{0}).error().code(), Errc::invalid);
  EXPECT_EQ(opened(folder / "disk", {.read_only = true})->write(0, bytes).error().code(), Errc::denied);
}

TEST(Qcow2, GivesDiscardedSpaceBackToTheFileSystem) {
  auto const folder = TestFolder{};
  ASSERT_TRUE(create_qcow2(folder / "disk", 32 << 20));
  auto const image = opened(folder / "disk");
  ASSERT_TRUE(image->write(0, Shadow(16 << 20, std::byte{5})));
  ASSERT_TRUE(image->flush());
  ASSERT_TRUE(image->discard(0, 16 << 20));
  ASSERT_TRUE(image->flush());
  struct stat status{};
  ASSERT_EQ(::stat((folder / "disk").c_str(), &status), 0);
  EXPECT_LT(status.st_blocks * 512, 2 << 20);
}

TEST(Qcow2, ReportsExtentsByPresence) {
  auto const folder = TestFolder{};
  ASSERT_TRUE(create_qcow2(folder / "base", 1 << 20));
  ASSERT_TRUE(create_qcow2(folder / "top", 4 << 20, {"base", "qcow2"}));
  auto const image = opened(folder / "top");
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

TEST(Qcow2, KeepsNeighboursApartWhenManyThreadsWrite) {
  auto const folder = TestFolder{};
  ASSERT_TRUE(create_qcow2(folder / "disk", 8 << 20, {}, 12));
  {
    auto const image = opened(folder / "disk");
    auto threads = std::vector<std::thread>{};
    for (auto number = u64{0}; number < 4; ++number) {
      threads.emplace_back([&image, number] {  // each owns every fourth sector: all share all clusters
        auto const bytes = Shadow(512, static_cast<std::byte>(number + 1));
        for (auto sector = number; sector < (8 << 20) / 512; sector += 4) {
          EXPECT_TRUE(image->write(sector * 512, bytes));
        }
        EXPECT_TRUE(image->flush());
      });
    }
    for (auto& thread : threads) thread.join();
    auto expected = Shadow(8 << 20);
    for (auto at = std::size_t{0}; at < expected.size(); ++at)
      expected[at] = static_cast<std::byte>(at / 512 % 4 + 1);
    expect_same(*image, expected);
  }
  expect_clean(folder / "disk");
}

TEST(Qcow2, KeepsWhatWasFlushedWhenTheProcessDies) {
  auto const folder = TestFolder{};
  ASSERT_TRUE(create_qcow2(folder / "disk", 8 << 20, {}, 9));
  auto const child = ::fork();
  if (child == 0) {
    auto random = std::mt19937_64{5};
    auto unused = Shadow(8 << 20);
    auto const image = opened(folder / "disk");
    for (auto step = 0; step < 100; ++step) change(*image, unused, random);
    static_cast<void>(image->write(4096, Shadow(1 << 20, std::byte{0x77})));
    static_cast<void>(image->flush());
    static_cast<void>(image->write(5 << 20, noise(1 << 20, random)));
    static_cast<void>(image->discard(2 << 20, 1 << 20));
    ::_exit(0);  // what was not flushed is lost
  }
  ::waitpid(child, nullptr, 0);
  auto const check = host::run_process({.arguments = {"qemu-img", "check", "-q", folder / "disk"}});
  EXPECT_THAT(check->status.code, testing::AnyOf(0, 3)) << "3: space leaked, which is allowed";
  auto bytes = Shadow(1 << 20);
  ASSERT_TRUE(opened(folder / "disk")->read(4096, bytes));
  EXPECT_TRUE(bytes == Shadow(1 << 20, std::byte{0x77}));
}

TEST(Qcow2, RefusesABackingFileThatIsAPipe) {
  auto const folder = TestFolder{};
  ASSERT_EQ(::mkfifo((folder / "pipe").c_str(), 0600), 0);
  tool({"qemu-img", "create", "-q", "-f", "qcow2", "-u", "-b", "pipe", "-F", "raw", folder / "disk", "1M"});
  EXPECT_EQ(open_image(folder / "disk", {.follow_references = true}).error().code(), Errc::invalid);
}

class CacheModes : public testing::TestWithParam<CacheMode> {};
INSTANTIATE_TEST_SUITE_P(All, CacheModes,
                         testing::Values(CacheMode::none, CacheMode::writethrough, CacheMode::directsync,
                                         CacheMode::unsafe));
TEST_P(CacheModes, StayCleanAndEqualToAFlatCopy) {
  auto const folder = TestFolder{};
  auto random = std::mt19937_64{11};
  auto shadow = Shadow((u64{2} << 20) + 512);
  ASSERT_TRUE(create_qcow2(folder / "disk", shadow.size(), {}, 10));
  {
    auto const image = opened(folder / "disk", {.cache = GetParam()});
    ASSERT_TRUE(image);
    for (auto step = 0; step < 40; ++step) change(*image, shadow, random);
    expect_same(*image, shadow);
  }
  expect_clean(folder / "disk");
  expect_same_as_qemu_reads(folder, folder / "disk", shadow);
}

}  // namespace
}  // namespace vireo::image
