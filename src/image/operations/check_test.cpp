#include "image/operations/check.h"

#include <gtest/gtest.h>

#include "image/operations/create.h"
#include "image/operations/describe.h"
#include "image/testing/random_disk.h"
#include "image/vmdk/spec.h"

namespace vireo::image {
namespace {

using namespace image::testing;  // NOLINT: the tests' own vocabulary

/// Where the entry of a block of the disk stands in the file; as this project lays its new images out.
struct Entry {
  u64 at{};
  u64 bytes{};
};
struct Format {
  std::string name;
  u64 block{};
  Entry (*entry_of)(std::string const& path, u64 block);
};
void PrintTo(Format const& format, std::ostream* stream) { *stream << format.name; }

template <typename T>
T number_at(std::string const& path, u64 at, bool big) {
  auto bytes = std::vector<std::byte>(sizeof(T));
  EXPECT_TRUE(host::File::open(path, {})->read(at, bytes));
  return big ? load_be<T>(bytes.data()) : load_le<T>(bytes.data());
}

Entry entry_of_qcow2(std::string const& path, u64 block) {
  auto const l1 = number_at<u64>(path, 40, true);
  return {(number_at<u64>(path, l1, true) & 0xfffffffffffe00) + block * 8, 8};
}
Entry entry_of_vdi(std::string const& path, u64 block) {
  return {number_at<u32>(path, 0x154, false) + block * 4, 4};
}
Entry entry_of_vhd(std::string const& path, u64 block) {
  return {number_at<u64>(path, 512 + 16, true) + block * 4, 4};
}
Entry entry_of_vhdx(std::string const&, u64 block) { return {3 * MiB + block * 8, 8}; }
Entry entry_of_vmdk(std::string const& path, u64 block) {
  auto const directory = number_at<u64>(path, vmdk::sparse_at::directory, false) * 512;
  return {u64{number_at<u32>(path, directory, false)} * 512 + block * 4, 4};
}

class CheckRepairs : public ::testing::TestWithParam<Format> {
 protected:
  CheckRepairs() {
    auto const made = create_image({.path = path_, .format = GetParam().name, .bytes = 16 * GetParam().block});
    EXPECT_TRUE(made) << made.error().what();
    EXPECT_TRUE(opened(path_)->write(0, Shadow(4 * GetParam().block, std::byte{5})));
  }
  Shadow entry(u64 block) const {
    auto const place = GetParam().entry_of(path_, block);
    auto bytes = Shadow(place.bytes);
    EXPECT_TRUE(host::File::open(path_, {})->read(place.at, bytes));
    return bytes;
  }
  void set_entry(u64 block, Shadow const& bytes) const {
    EXPECT_TRUE(host::File::open(path_, {.write = true})->write(GetParam().entry_of(path_, block).at, bytes));
  }
  CheckReport check(Repair repair) const {
    auto const report = check_image(path_, GetParam().name, repair);
    EXPECT_TRUE(report) << report.error().what();
    return report.value_or(CheckReport{});
  }
  void expect_reads(u64 block, std::byte value) const {
    auto bytes = Shadow(GetParam().block);
    auto const image = opened(path_);
    ASSERT_TRUE(image);
    ASSERT_TRUE(image->read(block * GetParam().block, bytes));
    EXPECT_TRUE(bytes == Shadow(GetParam().block, value));
  }
  TestFolder folder_;
  std::string path_{folder_ / ("disk." + GetParam().name)};
};
INSTANTIATE_TEST_SUITE_P(All, CheckRepairs,
                         ::testing::Values(Format{"qcow2", 64 * KiB, entry_of_qcow2},
                                           Format{"vmdk", 64 * KiB, entry_of_vmdk},
                                           Format{"vdi", 1 * MiB, entry_of_vdi},
                                           Format{"vhd", 2 * MiB, entry_of_vhd},
                                           Format{"vhdx", 2 * MiB, entry_of_vhdx}));

TEST_P(CheckRepairs, FindsNothingInAWholeImage) {
  auto const report = check(Repair::none);
  EXPECT_TRUE(report.clean());
  EXPECT_EQ(report.allocated, 4u);
  EXPECT_EQ(report.total, 16u);
}

TEST_P(CheckRepairs, GivesLostSpaceBack) {
  auto const before = host_bytes(*describe_image(path_));
  set_entry(2, entry(10));  // what an absent block says
  EXPECT_EQ(check(Repair::none).leaks, 1u);
  EXPECT_EQ(check(Repair::leaks).leaks_fixed, 1u);
  EXPECT_EQ(check(Repair::none).leaks, 0u);
  EXPECT_LE(host_bytes(*describe_image(path_)) + GetParam().block - 8192, before);
  expect_reads(1, std::byte{5});
  expect_reads(2, std::byte{0});
}

TEST_P(CheckRepairs, MakesABlockOutsideTheFileAbsent) {
  auto wrong = entry(2);
  wrong[GetParam().name == "vdi" || GetParam().name == "vmdk" ? 3
        : GetParam().name == "vhdx"                           ? 6
                                                              : 1] = std::byte{0x3f};
  set_entry(2, wrong);
  EXPECT_GE(check(Repair::none).corruptions, 1u);
  EXPECT_TRUE(check(Repair::all).clean());
  EXPECT_TRUE(check(Repair::none).clean());
  expect_reads(1, std::byte{5});
  expect_reads(2, std::byte{0});
}

TEST_P(CheckRepairs, LeavesNoTwoOwnersOfOnePlace) {
  set_entry(2, entry(1));
  EXPECT_GE(check(Repair::none).corruptions, 1u);
  EXPECT_TRUE(check(Repair::all).clean());
  EXPECT_TRUE(check(Repair::none).clean());
  expect_reads(1, std::byte{5});
  ASSERT_TRUE(opened(path_)->write(2 * GetParam().block, Shadow(GetParam().block, std::byte{6})));
  expect_reads(1, std::byte{5});
  expect_reads(2, std::byte{6});
  // qcow2 still counts the mark "one owner" that is missing since one of the two moved away, as QEMU does.
  EXPECT_TRUE(check(Repair::all).clean());
}

}  // namespace
}  // namespace vireo::image
