#include <fmt/format.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "image/create_vhd.h"
#include "image/testing/random_disk.h"
#include "image/vhd/footer.h"
#include "image/vhd/libvhdi_witness.h"

// Witnesses: QEMU for fixed and dynamic disks, libvhdi for these and for disks with parents.
namespace vireo::image {
namespace {

using namespace image::testing;  // NOLINT: the tests' own vocabulary
// Random changes flush often; CacheMode::unsafe still writes all tables then. VhdCacheModes has the others.
constexpr auto quick = OpenOptions{.format = "vhd", .cache = CacheMode::unsafe};

struct Kind {
  bool fixed{};
  std::string name;
};
class VhdKinds : public ::testing::TestWithParam<Kind> {};
INSTANTIATE_TEST_SUITE_P(All, VhdKinds, ::testing::Values(Kind{false, "dynamic"}, Kind{true, "fixed"}));

void overwrite(std::string const& path, u64 at, ConstBytes bytes) {
  ASSERT_TRUE(host::File::open(path, {.write = true})->write(at, bytes));
}
std::vector<std::byte> bytes_at(std::string const& path, u64 at, u64 count) {
  auto bytes = std::vector<std::byte>(count);
  EXPECT_TRUE(host::File::open(path, {})->read(at, bytes));
  return bytes;
}
u64 size_of(std::string const& path) { return *host::File::open(path, {})->size(); }

TEST_P(VhdKinds, StaysEqualToAFlatCopyUnderRandomChanges) {
  auto const folder = TestFolder{};
  auto shadow = Shadow((u64{9} << 20) + 512 * 5);
  ASSERT_TRUE(create_vhd(folder / "disk", shadow.size(), {.fixed = GetParam().fixed}));
  change_in_batches(folder / "disk", quick, shadow, 1, 5, 250);
  expect_same_as_qemu_reads(folder, folder / "disk", "vpc", shadow);
  expect_same_as_libvhdi_reads(folder, {folder / "disk"}, shadow);
}

TEST_P(VhdKinds, FromQemuIsReadAndChanged) {
  auto const folder = TestFolder{};
  auto random = std::mt19937_64{2};
  auto shadow = Shadow(u64{7} << 20);
  std::ranges::copy(noise(1500000, random), shadow.begin() + 1700000);
  write_flat(folder / "flat.in", shadow);
  tool({"qemu-img", "convert", "-f", "raw", "-O", "vpc", "-o", "force_size=on,subformat=" + GetParam().name,
        folder / "flat.in", folder / "disk"});
  change_in_batches(folder / "disk", quick, shadow, 3, 3, 150);
  expect_same_as_qemu_reads(folder, folder / "disk", "vpc", shadow);
  expect_same_as_libvhdi_reads(folder, {folder / "disk"}, shadow);
}

TEST_P(VhdKinds, OfWholeCylindersFromQemuHasTheSizeThatQemuSees) {
  auto const folder = TestFolder{};
  auto random = std::mt19937_64{2};
  auto shadow = noise(u64{7} << 20, random);
  write_flat(folder / "flat.in", shadow);
  tool({"qemu-img", "convert", "-f", "raw", "-O", "vpc", "-o", "subformat=" + GetParam().name,
        folder / "flat.in", folder / "disk"});
  shadow.resize(opened(folder / "disk", {.format = "vhd"})->geometry().bytes);
  EXPECT_GT(shadow.size(), 7u << 20);
  change_in_batches(folder / "disk", quick, shadow, 3, 1, 150);
  expect_same_as_qemu_reads(folder, folder / "disk", "vpc", shadow);
}

TEST_P(VhdKinds, IsKnownToVhdinfo) {
  auto const folder = TestFolder{};
  ASSERT_TRUE(create_vhd(folder / "disk", 10 << 20, {.fixed = GetParam().fixed}));
  auto const output = tool({"vhdiinfo", folder / "disk"});
  EXPECT_NE(output.find(GetParam().fixed ? "Fixed" : "Dynamic"), std::string::npos) << output;
  EXPECT_NE(output.find("10485760 bytes"), std::string::npos) << output;
}

TEST(Vhd, IsWrittenByQemuAfterUsAndReadAgain) {
  auto const folder = TestFolder{};
  auto shadow = Shadow(u64{16} << 20);
  ASSERT_TRUE(create_vhd(folder / "disk", shadow.size()));
  change_in_batches(folder / "disk", quick, shadow, 4, 1, 20);
  tool({"qemu-io", "-f", "vpc", "-c", "write -P 0x41 3M 9M", folder / "disk"});
  std::ranges::fill(Bytes{shadow}.subspan(3 << 20, 9 << 20), std::byte{0x41});
  change_in_batches(folder / "disk", quick, shadow, 5, 2, 50);
  expect_same_as_qemu_reads(folder, folder / "disk", "vpc", shadow);
}

TEST(Vhd, HasTheGeometryThatQemuComputes) {
  auto const folder = TestFolder{};
  for (auto const mebibytes : {1u, 3u, 30u, 65u, 100u, 128u, 500u, 504u, 505u, 1000u, 8000u, 32255u, 32256u,
                               40000u, 120000u, 127000u}) {
    auto const name = fmt::format("disk{}", mebibytes);
    tool({"qemu-img", "create", "-q", "-f", "vpc", folder / name, fmt::format("{}M", mebibytes)});
    auto const footer = bytes_at(folder / name, 0, vhd::footer_bytes);
    auto const qemus = vhd::DiskGeometry{load_be<u16>(footer.data() + vhd::footer_at::cylinders),
                                         load_be<u8>(footer.data() + vhd::footer_at::heads),
                                         load_be<u8>(footer.data() + vhd::footer_at::sectors_per_track)};
    // QEMU takes the first number of sectors whose geometry holds the size asked for.
    auto sectors = u64{mebibytes} * MiB / 512;
    while (vhd::geometry_of(sectors).sectors() < u64{mebibytes} * MiB / 512) ++sectors;
    EXPECT_TRUE(vhd::geometry_of(sectors) == qemus) << mebibytes;
  }
}

TEST(Vhd, OpensByTheCopyOfALostFooterAndMendsItAtTheFirstWrite) {
  auto const folder = TestFolder{};
  auto shadow = Shadow(8 << 20);
  ASSERT_TRUE(create_vhd(folder / "disk", shadow.size()));
  std::fill_n(shadow.begin() + 100, 3 << 20, std::byte{9});
  ASSERT_TRUE(opened(folder / "disk")->write(0, shadow));
  auto const whole = size_of(folder / "disk");
  ASSERT_TRUE(host::File::open(folder / "disk", {.write = true})->truncate(whole - 512));
  expect_same(*opened(folder / "disk", {.read_only = true}), shadow);
  ASSERT_TRUE(opened(folder / "disk")->write(0, ConstBytes{shadow}.first(512)));
  EXPECT_EQ(size_of(folder / "disk"), whole);
  EXPECT_EQ(bytes_at(folder / "disk", whole - 512, 512), bytes_at(folder / "disk", 0, 512));
}

TEST(Vhd, BelievesTheFooterOfAFixedDiskWhoseGuestWroteACopyOfAnother) {
  auto const folder = TestFolder{};
  ASSERT_TRUE(create_vhd(folder / "disk", 4 << 20, {.fixed = true}));
  ASSERT_TRUE(create_vhd(folder / "evil", 64 << 20));
  auto const head = bytes_at(folder / "evil", 0, 4096);
  ASSERT_TRUE(opened(folder / "disk", {.format = "vhd"})->write(0, head));
  auto read = Shadow(4096);
  auto const image = opened(folder / "disk");
  EXPECT_EQ(image->geometry().bytes, 4u << 20);
  ASSERT_TRUE(image->read(0, read));
  EXPECT_EQ(read, head);
}

TEST(Vhd, RefusesRangesOutsideTheDiskAndWritesToAReadOnlyOne) {
  auto const folder = TestFolder{};
  ASSERT_TRUE(create_vhd(folder / "disk", 1 << 20));
  ASSERT_TRUE(create_vhd(folder / "fixed", 1 << 20, {.fixed = true}));
  auto bytes = Shadow(4096);
  for (auto const& name : {"disk", "fixed"}) {
    auto const image = opened(folder / name, {.format = "vhd"});
    EXPECT_EQ(image->read((1 << 20) - 512, bytes).error().code(), Errc::invalid);
    EXPECT_EQ(image->write(~u64{0} - 100, bytes).error().code(), Errc::invalid);
    EXPECT_EQ(image->write(1 << 20, bytes).error().code(), Errc::invalid);
    EXPECT_EQ(image->discard(512, ~u64{0}).error().code(), Errc::invalid);
    EXPECT_EQ(image->extent_at(1 << 20).error().code(), Errc::invalid);
  }
  for (auto const& name : {"disk", "fixed"}) {
    auto const image = opened(folder / name, {.format = "vhd", .read_only = true});
    EXPECT_EQ(image->write(0, bytes).error().code(), Errc::denied);
  }
}

TEST(Vhd, GivesDiscardedSpaceBackToTheFileSystem) {
  auto const folder = TestFolder{};
  ASSERT_TRUE(create_vhd(folder / "disk", 32 << 20));
  auto const image = opened(folder / "disk");
  ASSERT_TRUE(image->write(0, Shadow(16 << 20, std::byte{5})));
  ASSERT_TRUE(image->discard(0, 16 << 20));
  ASSERT_TRUE(image->flush());
  struct stat status{};
  ASSERT_EQ(::stat((folder / "disk").c_str(), &status), 0);
  EXPECT_LT(status.st_blocks * 512, 2 << 20);
  EXPECT_EQ(image->extent_at(0)->presence, BlockImage::Presence::zero);
}

TEST(Vhd, KeepsWhatWasFlushedAndCutsOffWhatWasNotWhenTheProcessDies) {
  auto const folder = TestFolder{};
  ASSERT_TRUE(create_vhd(folder / "disk", 64 << 20));
  auto const child = ::fork();
  if (child == 0) {
    auto const image = opened(folder / "disk");
    static_cast<void>(image->write(4096, Shadow(3 << 20, std::byte{0x77})));
    static_cast<void>(image->flush());
    static_cast<void>(image->write(16 << 20, Shadow(16 << 20, std::byte{0x78})));
    ::_exit(0);  // what was not flushed is lost
  }
  ::waitpid(child, nullptr, 0);
  auto shadow = Shadow(64 << 20);
  std::fill_n(shadow.begin() + 4096, 3 << 20, std::byte{0x77});
  EXPECT_GT(size_of(folder / "disk"), 16u << 20);
  {
    auto const image = opened(folder / "disk");
    expect_same(*image, shadow);
    ASSERT_TRUE(image->write(40 << 20, Shadow(512, std::byte{1})));
    shadow[40 << 20] = std::byte{1};
    std::fill_n(shadow.begin() + (40 << 20), 512, std::byte{1});
  }
  EXPECT_LT(size_of(folder / "disk"), 7u << 20);
  expect_same_as_qemu_reads(folder, folder / "disk", "vpc", shadow);
}

TEST(Vhd, NamesTheFieldThatIsDamaged) {
  auto const folder = TestFolder{};
  auto const damaged = [&](u64 part, u64 part_bytes, u64 checksum_at, u64 at, u32 value) {
    ::unlink((folder / "disk").c_str());
    EXPECT_TRUE(create_vhd(folder / "disk", 4 << 20));
    auto bytes = bytes_at(folder / "disk", part, part_bytes);
    store_be(bytes.data() + at, value);
    store_be(bytes.data() + checksum_at, vhd::checksum_of(bytes, checksum_at));
    overwrite(folder / "disk", part, bytes);
    auto const result = open_image(folder / "disk");
    return result ? std::string{"opened"} : result.error().what();
  };
  using namespace vhd;
  auto const in_footer = [&](u64 at, u32 value) {
    return damaged(8192 - 4096 + 512, footer_bytes, footer_at::checksum, at, value);
  };
  auto const in_header = [&](u64 at, u32 value) {
    return damaged(footer_bytes, dynamic_bytes, dynamic_at::checksum, at, value);
  };
  EXPECT_NE(in_footer(footer_at::disk_type, 9).find("disk type"), std::string::npos);
  EXPECT_NE(in_footer(footer_at::version, 0x20000).find("version"), std::string::npos);
  EXPECT_NE(in_footer(footer_at::current_size, 0xffffffff).find("current size"), std::string::npos);
  EXPECT_NE(in_footer(footer_at::current_size + 4, 1000).find("current size"), std::string::npos);
  EXPECT_NE(in_footer(footer_at::data_offset, 1).find("data offset"), std::string::npos);
  EXPECT_NE(in_footer(footer_at::disk_type, 2).find("current size"), std::string::npos);
  EXPECT_NE(in_header(dynamic_at::cookie, 1).find("cookie"), std::string::npos);
  EXPECT_NE(in_header(dynamic_at::version, 1).find("version"), std::string::npos);
  EXPECT_NE(in_header(dynamic_at::block_size, 1000).find("block size"), std::string::npos);
  EXPECT_NE(in_header(dynamic_at::block_size, 0x80000000).find("block size"), std::string::npos);
  EXPECT_NE(in_header(dynamic_at::max_table_entries, 1).find("max table entries"), std::string::npos);
  EXPECT_NE(in_header(dynamic_at::max_table_entries, 0xffffffff).find("max table entries"), std::string::npos);
  EXPECT_NE(in_header(dynamic_at::table_offset, 1).find("table offset"), std::string::npos);
  EXPECT_NE(in_header(dynamic_at::table_offset + 4, 1000).find("table offset"), std::string::npos);
}

TEST(Vhd, RefusesBlocksOnMetadataOutsideTheFileAndOnEachOther) {
  auto const folder = TestFolder{};
  auto const outcome = [&](u32 first, u32 second) {
    ::unlink((folder / "disk").c_str());
    EXPECT_TRUE(create_vhd(folder / "disk", 64 << 20));
    EXPECT_TRUE(opened(folder / "disk")->write(0, Shadow(20 << 20, std::byte{1})));
    auto entries = std::vector<std::byte>(8);
    store_be(entries.data(), first);
    store_be(entries.data() + 4, second);
    overwrite(folder / "disk", 4096, entries);
    auto const image = opened(folder / "disk");
    auto bytes = Shadow(512);
    auto const read = image->read(2 << 20, bytes);
    return std::pair{read ? "read" : read.error().what(), image->write(4 << 20, bytes).error().code()};
  };
  EXPECT_NE(outcome(15, 0).first.find("on metadata"), std::string::npos);
  EXPECT_NE(outcome(15, 8).first.find("on metadata"), std::string::npos);
  EXPECT_NE(outcome(15, 0xfffffffe).first.find("behind the file"), std::string::npos);
  EXPECT_EQ(outcome(15, 0xfffffffe).second, Errc::corrupt);
  EXPECT_EQ(outcome(15, 15).second, Errc::corrupt);
  EXPECT_EQ(outcome(15, 15).first, "read");
}

TEST(Vhd, IsNotMadeOfNonsense) {
  auto const folder = TestFolder{};
  EXPECT_EQ(create_vhd(folder / "a", 0).error().code(), Errc::invalid);
  EXPECT_EQ(create_vhd(folder / "a", u64{2041} << 30).error().code(), Errc::invalid);
  EXPECT_EQ(create_vhd(folder / "a", 1 << 20, {.block_bytes = 5000}).error().code(), Errc::invalid);
  ASSERT_TRUE(create_vhd(folder / "a", u64{2040} << 30));
  EXPECT_EQ(opened(folder / "a")->geometry().bytes, u64{2040} << 30);
  EXPECT_EQ(create_vhd(folder / "a", 1 << 20).error().code(), Errc::busy);
}

class VhdCacheModes : public ::testing::TestWithParam<CacheMode> {};
INSTANTIATE_TEST_SUITE_P(All, VhdCacheModes,
                         ::testing::Values(CacheMode::none, CacheMode::writethrough, CacheMode::directsync,
                                           CacheMode::unsafe));
TEST_P(VhdCacheModes, StayEqualToAFlatCopy) {
  auto const folder = TestFolder{};
  auto shadow = Shadow((u64{5} << 20) + 512);
  ASSERT_TRUE(create_vhd(folder / "disk", shadow.size()));
  change_in_batches(folder / "disk", {.cache = GetParam()}, shadow, 11, 2, 40);
  expect_same_as_qemu_reads(folder, folder / "disk", "vpc", shadow);
}

}  // namespace
}  // namespace vireo::image
