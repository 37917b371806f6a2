#include <gmock/gmock.h>

#include <filesystem>

#include "image/operations/check.h"
#include "image/operations/create.h"
#include "image/operations/describe.h"
#include "image/operations/resize.h"
#include "image/qcow2/spec.h"
#include "image/testing/random_disk.h"

// Extended L2 entries and data files, with QEMU as the witness both ways.
namespace vireo::image {
namespace {

using namespace image::testing;  // NOLINT: the tests' own vocabulary

struct Options {
  std::string text;  // as qemu-img takes them
  bool raw_data{};
};
void PrintTo(Options const& options, std::ostream* stream) { *stream << options.text; }

class Qcow2Kinds : public ::testing::TestWithParam<Options> {
 protected:
  std::string path() const { return folder_ / "disk.qcow2"; }
  void in_folder(std::vector<std::string> words) const {
    words.insert(words.begin(), {"env", "-C", folder_ / ""});
    tool(std::move(words));
  }
  void check() const { in_folder({"qemu-img", "check", "-q", "-f", "qcow2", path()}); }
  TestFolder folder_;
};
INSTANTIATE_TEST_SUITE_P(
    All, Qcow2Kinds,
    ::testing::Values(Options{"extended_l2=on"}, Options{"extended_l2=on,cluster_size=16k,refcount_bits=1"},
                      Options{"extended_l2=on,cluster_size=2M"}, Options{"data_file=disk.data"},
                      Options{"data_file=disk.data,cluster_size=4k"},
                      Options{"data_file=disk.data,data_file_raw=on", true},
                      Options{"data_file=disk.data,data_file_raw=on,extended_l2=on", true}));

TEST_P(Qcow2Kinds, ThatQemuMadeAreChangedAtRandomAndStayWhole) {
  in_folder({"qemu-img", "create", "-q", "-f", "qcow2", "-o", GetParam().text, "disk.qcow2", "6M"});
  in_folder({"qemu-io", "-f", "qcow2", "-c", "write -P 7 100k 900k", "-c", "write -z 200k 70k", "-c",
             "discard 512k 128k", "-c", "write -P 9 3000k 1k", "disk.qcow2"});
  auto shadow = Shadow(6 * MiB);
  ASSERT_TRUE(opened(path())->read(0, shadow));
  EXPECT_EQ(shadow[150 * KiB], std::byte{7});
  EXPECT_EQ(shadow[220 * KiB], std::byte{0});
  EXPECT_EQ(shadow[3000 * KiB], std::byte{9});
  change_in_batches(path(), {.format = "qcow2"}, shadow, 3, 6, 60);
  check();
  expect_same_as_qemu_reads(folder_, path(), "qcow2", shadow);
  EXPECT_TRUE(check_image(path(), "qcow2", Repair::none)->clean());
  EXPECT_TRUE(!GetParam().raw_data || file_bytes(folder_ / "disk.data") == shadow);
}

TEST_P(Qcow2Kinds, AreChangedFromSeveralThreads) {
  in_folder({"qemu-img", "create", "-q", "-f", "qcow2", "-o", GetParam().text, "disk.qcow2", "6M"});
  auto shadow = Shadow(6 * MiB);
  {
    auto const image = opened(path());
    change_from_threads(*image, shadow, 120);
    expect_same(*image, shadow);
  }
  check();
  expect_same_as_qemu_reads(folder_, path(), "qcow2", shadow);
}

TEST_P(Qcow2Kinds, AreWrittenByQemuAfterwards) {
  auto request = CreateRequest{.path = path(), .format = "qcow2", .bytes = 6 * MiB};
  auto rest = GetParam().text + ",";
  for (auto comma = rest.find(','); comma != std::string::npos; comma = rest.find(',')) {
    auto const word = rest.substr(0, comma);
    request.options[word.substr(0, word.find('='))] = word.substr(word.find('=') + 1);
    rest.erase(0, comma + 1);
  }
  ASSERT_TRUE(create_image(request));
  auto shadow = Shadow(6 * MiB);
  change_in_batches(path(), {.format = "qcow2"}, shadow, 4, 2, 60);
  in_folder(
      {"qemu-io", "-f", "qcow2", "-c", "write -P 7 1000k 900k", "-c", "write -z 2000k 270k", "disk.qcow2"});
  std::fill_n(shadow.begin() + 1000 * 1024, 900 * 1024, std::byte{7});
  std::fill_n(shadow.begin() + 2000 * 1024, 270 * 1024, std::byte{0});
  change_in_batches(path(), {.format = "qcow2"}, shadow, 5, 2, 60);
  for (auto const bytes : {4 * MiB + 512, 9 * MiB}) {
    ASSERT_TRUE(resize_image({.path = path(), .format = "qcow2", .bytes = bytes, .shrink = true}));
    shadow.resize(bytes);
    expect_same(*opened(path()), shadow);
  }
  check();
  expect_same_as_qemu_reads(folder_, path(), "qcow2", shadow);
}

TEST(Qcow2Subclusters, OfOverlaysTakeOnlyWhatIsWritten) {
  auto const folder = TestFolder{};
  auto random = std::mt19937_64{1};
  auto shadow = noise(4 * MiB, random);
  write_flat(folder / "base", shadow);
  ASSERT_TRUE(create_image({.path = folder / "top",
                            .format = "qcow2",
                            .backing = {folder / "base", "raw"},
                            .options = {{"extended_l2", "on"}}}));
  auto const options = OpenOptions{.format = "qcow2", .follow_references = true};
  ASSERT_TRUE(opened(folder / "top", options)->write(MiB, Shadow(2048, std::byte{1})));
  std::fill_n(shadow.begin() + MiB, 2048, std::byte{1});
  auto const image = opened(folder / "top", options);
  EXPECT_EQ(image->extent_at(MiB)->length, 2048u);
  EXPECT_EQ(image->extent_at(MiB + 2048)->presence, BlockImage::Presence::absent);
  expect_same(*image, shadow);
}

TEST(Qcow2Subclusters, ThatContradictThemselvesAreDamage) {
  auto const folder = TestFolder{};
  auto const path = folder / "disk";
  ASSERT_TRUE(
      create_image({.path = path, .format = "qcow2", .bytes = MiB, .options = {{"extended_l2", "on"}}}));
  ASSERT_TRUE(opened(path)->write(0, Shadow(512)));
  {
    auto const file = host::File::open(path, {.write = true});
    auto number = Shadow(8);
    ASSERT_TRUE(file->read(qcow2::header_at::l1_table_offset, number));
    ASSERT_TRUE(file->read(load_be<u64>(number.data()), number));
    ASSERT_TRUE(file->write((load_be<u64>(number.data()) & qcow2::l1_entry::offset_mask) + 8,
                            Shadow(8, std::byte{0xff})));
  }
  auto bytes = Shadow(512);
  EXPECT_EQ(opened(path)->read(0, bytes).error().code(), Errc::corrupt);
  EXPECT_GE(check_image(path, "qcow2", Repair::none)->corruptions, 1u);
  EXPECT_TRUE(check_image(path, "qcow2", Repair::all)->clean());
  tool({"qemu-img", "check", "-q", "-f", "qcow2", path});
}

TEST(Qcow2DataFile, OfAnotherNameIsOpenedOnlyWhenAllowed) {
  auto const folder = TestFolder{};
  auto const path = folder / "disk.qcow2";
  ASSERT_TRUE(
      create_image({.path = path, .format = "qcow2", .bytes = MiB, .options = {{"data_file", "secret"}}}));
  EXPECT_EQ(open_image(path).error().code(), Errc::denied);
  EXPECT_EQ(resize_image({.path = path, .bytes = 2 * MiB}).error().code(), Errc::denied);
  EXPECT_TRUE(open_image(path, {.follow_references = true}));
  EXPECT_EQ(describe_image(path)->files.size(), 1u);
  EXPECT_FALSE(create_image(
      {.path = folder / "new.qcow2", .format = "qcow2", .bytes = MiB, .options = {{"data_file", "secret"}}}));
  EXPECT_FALSE(std::filesystem::exists(folder / "new.qcow2"));
}

}  // namespace
}  // namespace vireo::image
