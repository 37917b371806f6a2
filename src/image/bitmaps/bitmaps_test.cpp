#include <gmock/gmock.h>

#include <filesystem>

#include "image/bitmaps/dirty_bitmaps.h"
#include "image/bitmaps/sidecar.h"
#include "image/operations/bitmap.h"
#include "image/operations/check.h"
#include "image/operations/layers.h"
#include "image/operations/resize.h"
#include "image/operations/snapshot.h"
#include "image/testing/random_disk.h"

// QEMU is the witness for bitmaps in qcow2; other formats keep theirs in a qcow2 file, which it reads too.
namespace vireo::image {
namespace {

using namespace image::testing;  // NOLINT: the tests' own vocabulary
using ::testing::HasSubstr;
using Action = BitmapEdit::Action;

struct Kind {
  std::string format;
  std::map<std::string, std::string> options{};
};
void PrintTo(Kind const& kind, std::ostream* stream) { *stream << kind.format; }

class Bitmaps : public ::testing::TestWithParam<Kind> {
 protected:
  std::string path() const { return folder_ / ("disk." + GetParam().format); }
  BitmapTarget target() const { return {path(), GetParam().format}; }
  void create(u64 bytes) const {
    ASSERT_TRUE(create_image(
        {.path = path(), .format = GetParam().format, .bytes = bytes, .options = GetParam().options}));
  }
  void edit(Action action, std::string const& name = "b", std::string const& source = {}) const {
    auto const done = edit_bitmap(
        target(),
        {.action = action, .name = name, .granularity = action == Action::add ? 4096u : 0u, .source = source});
    ASSERT_TRUE(done) << done.error().what();
  }
  std::unique_ptr<BlockImage> open() const {
    return opened(path(), {.format = GetParam().format, .follow_references = true});
  }
  void write(u64 at, u64 length) const { ASSERT_TRUE(open()->write(at, Shadow(length, std::byte{1}))); }
  std::vector<std::pair<u64, u64>> dirty(std::string const& name = "b") const {
    auto const bitmap = read_bitmap(target(), name);
    EXPECT_TRUE(bitmap) << bitmap.error().what();
    auto all = std::vector<std::pair<u64, u64>>{};
    if (!bitmap) return all;
    for (auto const& each : bitmap->ranges()) all.emplace_back(each.start, each.length);
    return all;
  }
  bool out_of_date() const {
    auto const bitmap = read_bitmap(target(), "b");
    return !bitmap && bitmap.error().code() == Errc::corrupt;
  }
  using Ranges = std::vector<std::pair<u64, u64>>;
  TestFolder folder_;
};
INSTANTIATE_TEST_SUITE_P(All, Bitmaps,
                         ::testing::Values(Kind{"qcow2"}, Kind{"qcow2", {{"cluster_size", "512"}}}, Kind{"raw"},
                                           Kind{"vmdk"}, Kind{"vmdk", {{"subformat", "twoGbMaxExtentSparse"}}},
                                           Kind{"vhd"}, Kind{"vhd", {{"subformat", "fixed"}}}, Kind{"vhdx"},
                                           Kind{"vdi"}));

TEST_P(Bitmaps, RecordWhatChangesBetweenOpenings) {
  create(8 * MiB);
  edit(Action::add);
  EXPECT_EQ(dirty(), Ranges{});
  write(1 * MiB, 4096);
  write(3 * MiB + 100, 8192);
  EXPECT_EQ(dirty(), (Ranges{{1 * MiB, 4096}, {3 * MiB, 12288}}));
  {
    auto const image = open();
    ASSERT_TRUE(image->write_zeroes(5 * MiB, 65536, true));
    ASSERT_TRUE(image->discard(6 * MiB, 65536));
  }
  EXPECT_EQ(dirty(), (Ranges{{1 * MiB, 4096}, {3 * MiB, 12288}, {5 * MiB, 65536}, {6 * MiB, 65536}}));
  edit(Action::clear);
  EXPECT_EQ(dirty(), Ranges{});
  edit(Action::disable);
  write(0, 4096);
  EXPECT_EQ(dirty(), Ranges{});
  edit(Action::enable);
  write(8 * MiB - 512, 512);
  EXPECT_EQ(dirty(), (Ranges{{8 * MiB - 4096, 4096}}));
  edit(Action::remove);
  EXPECT_TRUE(read_bitmaps(target())->empty());
  EXPECT_FALSE(std::filesystem::exists(bitmap_sidecar(path())));
}

TEST_P(Bitmaps, HoldExactlyWhatRandomChangesTouchThroughResizesAndSnapshots) {
  auto random = std::mt19937_64{1};
  auto shadow = Shadow(3 * MiB);
  create(shadow.size());
  edit(Action::add);
  auto before = shadow;
  for (auto round = 0; round < 6 && !HasFailure(); ++round) {
    {
      auto const image = open();
      for (auto step = 0; step < 30 && !HasFatalFailure(); ++step) change(*image, shadow, random);
    }
    auto const bitmap = read_bitmap(target(), "b");
    ASSERT_TRUE(bitmap) << bitmap.error().what();
    auto clean = std::vector<bool>(shadow.size() / 512, true);
    for (auto const& range : bitmap->ranges()) {
      for (auto at = range.start; at < range.start + range.length; at += 512) clean[at / 512] = false;
    }
    before.resize(shadow.size());
    for (auto sector = std::size_t{0}; sector < clean.size(); ++sector) {
      auto const same = std::memcmp(shadow.data() + sector * 512, before.data() + sector * 512, 512) == 0;
      ASSERT_TRUE(!clean[sector] || same) << "sector " << sector << " changed and is not marked";
    }
    ASSERT_TRUE(create_snapshot({.path = path(), .format = GetParam().format}, "s" + std::to_string(round)));
    auto const bytes = align_up(random() % (4 * MiB) + MiB, 512);
    auto const resized =
        resize_image({.path = path(), .format = GetParam().format, .bytes = bytes, .shrink = true});
    ASSERT_TRUE(resized) << resized.error().what();
    shadow.resize(bytes);
    edit(Action::clear);
    before = shadow;
  }
  ASSERT_TRUE(apply_snapshot({.path = path(), .format = GetParam().format}, "s5"));
  EXPECT_FALSE(dirty().empty());
  if (GetParam().format == "raw") return;
  auto const report = check_image(path(), GetParam().format, Repair::none);
  EXPECT_TRUE(report->clean()) << ::testing::PrintToString(report->findings);
}

TEST_P(Bitmaps, MergeWhateverTheirGranularity) {
  create(8 * MiB);
  edit(Action::add, "fine");
  ASSERT_TRUE(edit_bitmap(target(), {.action = Action::add, .name = "coarse", .granularity = 1 * MiB}));
  edit(Action::disable, "coarse");
  write(1 * MiB + 5000, 100);
  edit(Action::merge, "coarse", "fine");
  EXPECT_EQ(dirty("coarse"), (Ranges{{1 * MiB, 1 * MiB}}));
  auto const missing = edit_bitmap(target(), {.action = Action::merge, .name = "coarse", .source = "none"});
  EXPECT_EQ(missing.error().code(), Errc::not_found);
  EXPECT_EQ(edit_bitmap(target(), {.action = Action::add, .name = "fine"}).error().code(), Errc::busy);
}

TEST_P(Bitmaps, GiveABackupWhatIsDirtyAndStartAnewInOneMoment) {
  create(8 * MiB);
  auto const image =
      opened(path(), {.format = GetParam().format, .follow_references = true, .track_changes = true});
  auto* const bitmaps = image->dirty_bitmaps();
  ASSERT_TRUE(bitmaps != nullptr && bitmaps->add("b", 4096));
  ASSERT_TRUE(image->write(0, Shadow(4096)));
  auto const taken = bitmaps->take("b");
  ASSERT_TRUE(image->write(8192, Shadow(4096)));
  EXPECT_EQ(taken->ranges().at(0).start, 0u);
  EXPECT_EQ(bitmaps->copy("b")->ranges().at(0).start, 8192u);
  ASSERT_TRUE(bitmaps->merge("b", *taken));
  EXPECT_EQ(bitmaps->copy("b")->ranges().size(), 2u);
}

TEST_P(Bitmaps, AreOutOfDateAfterAWriterDied) {
  create(8 * MiB);
  edit(Action::add);
  auto const stored = folder_ / "copy";
  auto const file = GetParam().format == "qcow2" ? path() : bitmap_sidecar(path());
  {
    auto const image = open();
    ASSERT_TRUE(image->write(0, Shadow(4096, std::byte{1})));
    ASSERT_TRUE(image->flush());
    std::filesystem::copy_file(file, stored);
  }
  EXPECT_EQ(dirty(), (Ranges{{0, 4096}}));
  std::filesystem::copy_file(stored, file, std::filesystem::copy_options::overwrite_existing);
  EXPECT_TRUE(out_of_date());
  write(0, 512);
  EXPECT_TRUE(out_of_date());
  EXPECT_EQ(edit_bitmap(target(), {.action = Action::clear, .name = "b"}).error().code(), Errc::corrupt);
  edit(Action::remove);
  EXPECT_TRUE(read_bitmaps(target())->empty());
}

TEST_P(Bitmaps, AreOutOfDateWhenAnotherProgramWroteAndDidNotTellThem) {
  if (GetParam().format == "qcow2") GTEST_SKIP() << "qcow2 says itself that its bitmaps are to be kept right";
  create(8 * MiB);
  edit(Action::add);
  auto const qemu = GetParam().format == "vhd" ? "vpc" : GetParam().format;
  tool({"qemu-io", "-f", qemu, "-c", "write -P 5 1M 4k", path()});
  EXPECT_TRUE(out_of_date());
  write(0, 4096);
  EXPECT_TRUE(out_of_date());
}

class Qcow2Bitmaps : public ::testing::Test {
 protected:
  std::string path() const { return folder_ / "disk.qcow2"; }
  BitmapTarget target() const { return {path(), "qcow2"}; }
  void check() const { tool({"qemu-img", "check", "-q", "-f", "qcow2", path()}); }
  /// What QEMU says is dirty: an NBD export, and its map.
  std::string map_by_qemu(std::string const& bitmap) const {
    auto const socket = folder_ / "socket";
    tool({"qemu-nbd", "--fork", "-r", "-f", "qcow2", "-B", bitmap, "-k", socket, path()});
    return tool(
        {"qemu-img", "map", "--output=json", "--image-opts",
         "driver=nbd,server.type=unix,server.path=" + socket + ",x-dirty-bitmap=qemu:dirty-bitmap:" + bitmap});
  }
  TestFolder folder_;
};

TEST_F(Qcow2Bitmaps, ThatQemuMadeAreRecordedInAndReadByIt) {
  tool({"qemu-img", "create", "-q", "-f", "qcow2", path(), "64M"});
  tool({"qemu-img", "bitmap", "--add", "-g", "65536", path(), "b"});
  ASSERT_TRUE(opened(path())->write(16 * MiB, Shadow(65536, std::byte{1})));
  check();
  tool({"qemu-io", "-f", "qcow2", "-c", "write 32M 64k", path()});
  check();
  auto const ranges = read_bitmap(target(), "b")->ranges();
  ASSERT_EQ(ranges.size(), 2u);
  EXPECT_EQ(ranges[0].start, 16 * MiB);
  EXPECT_EQ(ranges[1].start, 32 * MiB);
  auto const map = map_by_qemu("b");
  EXPECT_THAT(
      map,
      HasSubstr(
          R"("start": 16777216, "length": 65536, "depth": 0, "present": false, "zero": false, "data": false)"));
  EXPECT_THAT(
      map,
      HasSubstr(
          R"("start": 33554432, "length": 65536, "depth": 0, "present": false, "zero": false, "data": false)"));
}

TEST_F(Qcow2Bitmaps, ThatWeMadeAreEditedByQemu) {
  ASSERT_TRUE(create_qcow2(path(), 64 * MiB));
  ASSERT_TRUE(edit_bitmap(target(), {.action = Action::add, .name = "b", .granularity = 512}));
  ASSERT_TRUE(opened(path())->write(0, Shadow(40 * MiB, std::byte{1})));
  check();
  tool({"qemu-img", "bitmap", "--add", "-g", "512", path(), "c"});
  tool({"qemu-img", "bitmap", "--merge", "b", path(), "c"});
  EXPECT_EQ(read_bitmap(target(), "c")->ranges().at(0).length, 40 * MiB);
  tool({"qemu-img", "bitmap", "--remove", path(), "b"});
  tool({"qemu-img", "resize", "-q", path(), "70M"});
  ASSERT_TRUE(resize_image({.path = path(), .format = "qcow2", .bytes = 80 * MiB}));
  check();
  tool({"qemu-img", "bitmap", "--clear", path(), "c"});
  EXPECT_TRUE(read_bitmap(target(), "c")->ranges().empty());
}

TEST_F(Qcow2Bitmaps, AreOutOfDateWhenTheHeaderNoLongerVouchesForThem) {
  ASSERT_TRUE(create_qcow2(path(), 64 * MiB));
  ASSERT_TRUE(edit_bitmap(target(), {.action = Action::add, .name = "b"}));
  {
    auto const file = host::File::open(path(), {.write = true});
    ASSERT_TRUE(file->write(qcow2::header_at::autoclear_features, Shadow(8)));
  }
  EXPECT_TRUE(read_bitmaps(target())->empty());
  ASSERT_TRUE(opened(path())->write(0, Shadow(512)));
  EXPECT_TRUE(read_bitmaps(target())->empty());
  EXPECT_GT(check_image(path(), "qcow2", Repair::leaks)->leaks_fixed, 0u);
  ASSERT_TRUE(edit_bitmap(target(), {.action = Action::add, .name = "b"}));
  check();
}

TEST_F(Qcow2Bitmaps, OfUnknownKindsStayAndAreMarkedInUseBeforeTheFirstChange) {
  ASSERT_TRUE(create_qcow2(path(), 64 * MiB));
  ASSERT_TRUE(edit_bitmap(target(), {.action = Action::add, .name = "b"}));
  {
    auto const storage = Storage::open(path(), true, CacheMode::writeback);
    auto const header = qcow2::read_header(*storage);
    ASSERT_TRUE(
        storage->write(header->bitmap_directory_offset + qcow2::bitmap_at::type, Shadow(1, std::byte{9})));
  }
  ASSERT_TRUE(edit_bitmap(target(), {.action = Action::add, .name = "c"}));
  ASSERT_TRUE(opened(path())->write(0, Shadow(512)));
  auto const storage = Storage::open(path(), false, CacheMode::writeback);
  auto const directory = qcow2::read_bitmap_directory(*storage, *qcow2::read_header(*storage));
  ASSERT_EQ(directory->size(), 2u);
  EXPECT_EQ(directory->at(0).flags, qcow2::bitmap_flag::in_use | qcow2::bitmap_flag::automatic);
  EXPECT_EQ(directory->at(1).flags, qcow2::bitmap_flag::automatic);
  EXPECT_EQ(read_bitmap(target(), "c")->ranges().size(), 1u);
}

TEST_F(Qcow2Bitmaps, StayThroughACommitAndARebase) {
  for (auto const* name : {"base.qcow2", "other.qcow2"}) ASSERT_TRUE(create_qcow2(folder_ / name, 8 * MiB));
  ASSERT_TRUE(create_qcow2(path(), 0, {.path = "base.qcow2", .format = "qcow2"}));
  ASSERT_TRUE(edit_bitmap(target(), {.action = Action::add, .name = "b"}));
  ASSERT_TRUE(opened(path(), {.follow_references = true})->write(0, Shadow(512, std::byte{1})));
  ASSERT_TRUE(commit_image({.path = path()}));
  EXPECT_EQ(read_bitmap(target(), "b")->ranges().size(), 1u);
  ASSERT_TRUE(rebase_image({.path = path(), .backing = {"other.qcow2", "qcow2"}, .follow_references = true}));
  EXPECT_EQ(read_bitmap(target(), "b")->ranges().size(), 1u);
  check();
}

TEST(DirtyBitmap, FindsRangesAndCutsThemToTheDisk) {
  auto bitmap = *DirtyBitmap::create("b", 10 * 4096 + 100, 4096);
  bitmap.mark(4095, 2);
  bitmap.mark(10 * 4096 + 50, 1000);
  auto const ranges = bitmap.ranges();
  ASSERT_EQ(ranges.size(), 2u);
  EXPECT_EQ(ranges[0].length, 8192u);
  EXPECT_EQ(ranges[1].length, 100u);
  EXPECT_EQ(bitmap.info().dirty_bytes, 8292u);
  EXPECT_FALSE(DirtyBitmap::create("b", 1, 1000));
  EXPECT_FALSE(DirtyBitmap::create("", 1, 4096));
}

}  // namespace
}  // namespace vireo::image
