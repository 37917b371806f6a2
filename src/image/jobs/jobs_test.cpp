#include <gmock/gmock.h>

#include <filesystem>

#include "image/jobs/target_image.h"
#include "image/jobs/testing/guest.h"
#include "image/operations/bitmap.h"
#include "image/operations/check.h"
#include "image/testing/recorder.h"

// Every job on every format, under random writes from several threads; a flat copy knows what the disk holds.
namespace vireo::image {
namespace {

using namespace image::testing;  // NOLINT: the tests' own vocabulary
using ::testing::HasSubstr;

constexpr u64 disk_bytes{6 * MiB};

struct Kind {
  std::string name;
  std::string format;
  std::map<std::string, std::string> options{};
};
void PrintTo(Kind const& kind, std::ostream* stream) { *stream << kind.name; }

auto const with_overlays =
    std::vector<Kind>{{"qcow2", "qcow2"}, {"qcow2 of subclusters", "qcow2", {{"extended_l2", "on"}}},
                      {"vmdk", "vmdk"},   {"vmdk, split", "vmdk", {{"subformat", "twoGbMaxExtentSparse"}}},
                      {"vhd", "vhd"},     {"vhdx", "vhdx"},
                      {"vdi", "vdi"}};
auto const all = [] {
  auto kinds = with_overlays;
  kinds.push_back({"raw", "raw"});
  kinds.push_back({"vhd, fixed", "vhd", {{"subformat", "fixed"}}});
  kinds.push_back({"vmdk, flat", "vmdk", {{"subformat", "monolithicFlat"}}});
  return kinds;
}();

class JobsOn : public ::testing::TestWithParam<Kind> {
 protected:
  JobsOn() { Recorder::waits_for_disk = false; }
  ~JobsOn() override { Recorder::waits_for_disk = true; }

  std::string name(std::string const& stem, std::string const& format) const {
    return folder_ / (stem + "." + format);
  }
  std::string path(std::string const& stem = "disk") const { return name(stem, GetParam().format); }

  /// A disk that holds something, in use by a machine.
  void start() {
    auto const made = create_image(
        {.path = path(), .format = GetParam().format, .bytes = disk_bytes, .options = GetParam().options});
    ASSERT_TRUE(made) << made.error().what();
    open(path());
    auto random = std::mt19937_64{7};
    for (auto step = 0; step < 30 && !HasFatalFailure(); ++step) change(*disk_, shadow_, random);
  }
  void open(std::string const& image) {
    auto disk = LiveDisk::open(
        {.path = image, .format = GetParam().format, .cache = CacheMode::unsafe, .follow_references = true});
    ASSERT_TRUE(disk) << disk.error().what();
    disk_ = *disk;
    table_ = std::make_unique<JobTable>();
    table_->add_disk("d", disk_);
  }
  void snapshot(std::string const& stem) {
    auto const done = table_->snapshot({{.disk = "d", .path = path(stem), .options = overlay_options()}});
    ASSERT_TRUE(done) << done.error().what();
  }
  std::map<std::string, std::string> overlay_options() const {
    return GetParam().format == "vmdk" && GetParam().options.contains("subformat")
               ? GetParam().options
               : std::map<std::string, std::string>{};
  }
  std::string begin(JobSpec const& spec) {
    auto const id = table_->start(spec);
    EXPECT_TRUE(id) << id.error().what();
    return id.value_or("none");
  }
  JobInfo wait_for(std::string const& id, JobState state) {
    auto const info = table_->wait(id, [&](JobInfo const& each) { return each.state == state; }, 60000);
    EXPECT_TRUE(info && info->state == state)
        << (info ? std::string{name_of(info->state)} + " " + info->error : info.error().what());
    return info.value_or(JobInfo{});
  }
  JobInfo finish(std::string const& id) { return wait_for(id, JobState::completed); }
  void complete(std::string const& id) {
    wait_for(id, JobState::ready);
    auto const done = table_->complete(id);
    ASSERT_TRUE(done) << done.error().what();
    finish(id);
  }
  /// A little writing of the guest's.
  void let_write(Guest const& guest, u64 changes = 60) {
    auto const until = guest.changes + changes;
    while (guest.changes < until && !HasFatalFailure()) std::this_thread::yield();
  }
  void close() {
    table_.reset();
    disk_.reset();
  }
  /// After closing: the image holds the disk, and its tables are right.
  void expect_image(std::string const& image, std::string const& format) {
    ASSERT_FALSE(HasFatalFailure());
    {
      auto const opened = open_image(image, {.format = format, .follow_references = true});
      ASSERT_TRUE(opened) << opened.error().what();
      ASSERT_GE((*opened)->geometry().bytes, shadow_.size());
      expect_same(**opened, shadow_);
    }
    expect_clean(image, format);
  }
  void expect_clean(std::string const& image, std::string const& format) {
    if (format == "raw") return;
    auto const report = check_image(image, format, Repair::none);
    ASSERT_TRUE(report) << report.error().what();
    EXPECT_EQ(report->corruptions, 0u) << ::testing::PrintToString(report->findings);
  }
  std::string parent_of(std::string const& image, std::string const& format) {
    return read_chain(image, format, true)->at(0).description.backing_path;
  }

  TestFolder folder_;
  Shadow shadow_ = Shadow(disk_bytes);
  std::shared_ptr<LiveDisk> disk_;
  std::unique_ptr<JobTable> table_;
};

class Jobs : public JobsOn {};
INSTANTIATE_TEST_SUITE_P(All, Jobs, ::testing::ValuesIn(all));
class ChainJobs : public JobsOn {};
INSTANTIATE_TEST_SUITE_P(All, ChainJobs, ::testing::ValuesIn(with_overlays));

TEST_P(Jobs, SnapshotKeepsWhatWasAndGoesOnAbove) {
  start();
  auto before = Shadow{};
  {
    auto guest = Guest{*disk_, shadow_};
    let_write(guest);
    guest.stop();
    before = shadow_;
  }
  auto guest = Guest{*disk_, shadow_, 2};
  auto const format =
      GetParam().format == "raw" || GetParam().options.contains("subformat") ? "qcow2" : GetParam().format;
  auto const top = folder_ / (std::string{"top."} + format);
  auto const refused = table_->snapshot({{.disk = "d", .path = path(), .format = "qcow2"}});
  EXPECT_FALSE(refused);
  let_write(guest);
  guest.stop();
  auto const without = shadow_;
  auto const done = table_->snapshot({{.disk = "d", .path = top, .format = format}});
  ASSERT_TRUE(done) << done.error().what();
  EXPECT_EQ(disk_->source().path, top);
  auto second = Guest{*disk_, shadow_, 3};
  let_write(second);
  second.stop();
  close();
  expect_image(top, format);
  shadow_ = without;
  expect_image(path(), GetParam().format);
}

TEST_P(Jobs, MirrorMovesTheDiskToEveryFormatAndBack) {
  start();
  auto guest = Guest{*disk_, shadow_};
  let_write(guest);
  auto last = path();
  for (auto const* format : {"raw", "vhd", "qcow2", "vdi", "vmdk", "vhdx"}) {
    auto const to = name("moved", format);
    complete(begin(MirrorSpec{.disk = "d", .target = {.path = to, .format = format}}));
    ASSERT_FALSE(HasFailure()) << format;
    EXPECT_EQ(disk_->source().path, to);
    EXPECT_FALSE(std::filesystem::exists(job_record(to)));
    let_write(guest, 20);
    last = to;
  }
  guest.stop();
  close();
  expect_image(last, "vhdx");
}

TEST_P(Jobs, MirrorThatIsCancelledLeavesACopyOrNothing) {
  start();
  auto const early = begin(
      MirrorSpec{.disk = "d", .target = {.path = name("early", "qcow2"), .format = "qcow2"}, .rate = 65536});
  EXPECT_EQ(table_->start(MirrorSpec{.disk = "d", .target = {.path = name("b", "raw"), .format = "raw"}})
                .error()
                .code(),
            Errc::busy);
  ASSERT_TRUE(table_->cancel(early));
  wait_for(early, JobState::cancelled);
  EXPECT_FALSE(std::filesystem::exists(name("early", "qcow2")));
  auto const late =
      begin(MirrorSpec{.disk = "d", .target = {.path = name("late", "qcow2"), .format = "qcow2"}});
  {
    auto guest = Guest{*disk_, shadow_};
    let_write(guest);
    wait_for(late, JobState::ready);
    let_write(guest);
  }
  ASSERT_TRUE(table_->cancel(late));
  wait_for(late, JobState::cancelled);
  EXPECT_EQ(disk_->source().path, path());
  expect_image(name("late", "qcow2"), "qcow2");
  close();
  expect_image(path(), GetParam().format);
}

TEST_P(Jobs, BackupHoldsTheInstantOfItsStartWhateverIsWrittenMeanwhile) {
  start();
  auto const then = shadow_;
  auto const id = begin(BackupSpec{
      .disk = "d", .target = {.path = name("backup", "qcow2"), .format = "qcow2"}, .rate = 16 * MiB});
  {
    auto guest = Guest{*disk_, shadow_};
    guest.slow = false;
    finish(id);
  }
  close();
  expect_image(path(), GetParam().format);
  shadow_ = then;
  expect_image(name("backup", "qcow2"), "qcow2");
}

TEST_P(Jobs, IncrementalBackupsTogetherHoldTheDisk) {
  auto const made = create_image(
      {.path = path(), .format = GetParam().format, .bytes = disk_bytes, .options = GetParam().options});
  ASSERT_TRUE(made);
  auto const added = edit_bitmap({path(), GetParam().format},
                                 {.action = BitmapEdit::Action::add, .name = "b", .granularity = 4096});
  ASSERT_TRUE(added) << added.error().what();
  open(path());
  {
    auto guest = Guest{*disk_, shadow_};
    let_write(guest);
    finish(begin(
        BackupSpec{.disk = "d", .target = {.path = name("full", "qcow2"), .format = "qcow2"}, .bitmap = "b"}));
    let_write(guest);
  }
  auto const then = shadow_;
  auto const id = begin(BackupSpec{
      .disk = "d",
      .target = {.path = name("more", "qcow2"), .format = "qcow2", .backing = {"full.qcow2", "qcow2"}},
      .bitmap = "b",
      .incremental = true});
  {
    auto guest = Guest{*disk_, shadow_, 5};
    let_write(guest);
    finish(id);
  }
  close();
  expect_image(path(), GetParam().format);
  shadow_ = then;
  expect_image(name("more", "qcow2"), "qcow2");
}

TEST_P(Jobs, CancelAtAnyMomentLeavesTheDiskAsItIs) {
  start();
  auto random = std::mt19937_64{3};
  auto guest = Guest{*disk_, shadow_};
  for (auto round = 0; round < 6 && !HasFailure(); ++round) {
    auto const target = JobTarget{.path = name("target", "qcow2"), .format = "qcow2"};
    auto const mirror = begin(MirrorSpec{.disk = "d", .target = target, .rate = 8 * MiB});
    auto const backup = begin(
        BackupSpec{.disk = "d", .target = {.path = name("backup", "vdi"), .format = "vdi"}, .rate = 8 * MiB});
    std::this_thread::sleep_for(std::chrono::microseconds{random() % 60000});
    ASSERT_TRUE(table_->cancel(backup));
    ASSERT_TRUE(table_->cancel(mirror));
    table_->wait(mirror);
    table_->wait(backup);
    remove_image_files(target.path, "qcow2");
    remove_image_files(name("backup", "vdi"), "vdi");
    ASSERT_TRUE(table_->forget(mirror));
  }
  guest.stop();
  close();
  expect_image(path(), GetParam().format);
}

TEST_P(ChainJobs, StreamMakesTheTopStandAlone) {
  start();
  snapshot("middle");
  auto guest = Guest{*disk_, shadow_};
  let_write(guest);
  snapshot("top");
  let_write(guest);
  finish(begin(StreamSpec{.disk = "d"}));
  let_write(guest);
  guest.stop();
  close();
  EXPECT_EQ(parent_of(path("top"), GetParam().format), "");
  ASSERT_FALSE(HasFailure());
  remove_image_files(path("middle"), GetParam().format);
  remove_image_files(path(), GetParam().format);
  expect_image(path("top"), GetParam().format);
}

TEST_P(ChainJobs, StreamLeavesTheBaseThatIsAskedFor) {
  start();
  snapshot("middle");
  auto guest = Guest{*disk_, shadow_};
  let_write(guest);
  snapshot("top");
  let_write(guest);
  finish(begin(StreamSpec{.disk = "d", .base = path()}));
  let_write(guest);
  guest.stop();
  close();
  EXPECT_TRUE(std::filesystem::equivalent(parent_of(path("top"), GetParam().format), path()));
  remove_image_files(path("middle"), GetParam().format);
  expect_image(path("top"), GetParam().format);
}

TEST_P(ChainJobs, CommitOfTheActiveLayerGoesOnInTheBase) {
  start();
  auto guest = Guest{*disk_, shadow_};
  snapshot("middle");
  let_write(guest);
  snapshot("top");
  let_write(guest);
  complete(begin(CommitSpec{.disk = "d", .base = path()}));
  EXPECT_EQ(disk_->source().path, path());
  let_write(guest);
  guest.stop();
  close();
  expect_image(path(), GetParam().format);
  EXPECT_EQ(parent_of(path(), GetParam().format), "");
}

TEST_P(ChainJobs, CommitOfAMiddleLayerPutsTheBaseBehindTheOneAbove) {
  start();
  auto guest = Guest{*disk_, shadow_};
  snapshot("middle");
  let_write(guest);
  snapshot("top");
  let_write(guest);
  finish(begin(CommitSpec{.disk = "d", .top = path("middle")}));
  let_write(guest);
  guest.stop();
  EXPECT_EQ(disk_->source().path, path("top"));
  close();
  EXPECT_TRUE(std::filesystem::equivalent(parent_of(path("top"), GetParam().format), path()));
  ASSERT_FALSE(HasFailure());
  remove_image_files(path("middle"), GetParam().format);
  expect_image(path("top"), GetParam().format);
}

TEST_P(ChainJobs, CancelledChainJobsLeaveTheChainWhole) {
  start();
  snapshot("middle");
  auto guest = Guest{*disk_, shadow_};
  let_write(guest);
  snapshot("top");
  auto random = std::mt19937_64{4};
  for (auto round = 0; round < 3 && !HasFailure(); ++round) {
    for (auto const& spec : {JobSpec{CommitSpec{.disk = "d", .rate = 4 * MiB}},
                             JobSpec{CommitSpec{.disk = "d", .top = path("middle"), .rate = 4 * MiB}},
                             JobSpec{StreamSpec{.disk = "d", .rate = 4 * MiB}}}) {
      if (std::holds_alternative<StreamSpec>(spec) && round != 2) continue;
      auto const id = begin(spec);
      ASSERT_FALSE(HasFailure());
      std::this_thread::sleep_for(std::chrono::microseconds{random() % 20000});
      ASSERT_TRUE(table_->cancel(id));
      table_->wait(id);
    }
  }
  guest.stop();
  auto const now = disk_->source().path;
  close();
  expect_image(now, GetParam().format);
}

TEST_P(ChainJobs, MirrorOfTheTopAloneLiesOverTheSameImages) {
  start();
  snapshot("top");
  auto guest = Guest{*disk_, shadow_};
  let_write(guest);
  complete(begin(
      MirrorSpec{.disk = "d",
                 .target = {.path = path("copy"), .format = GetParam().format, .options = overlay_options()},
                 .sync = MirrorSpec::Sync::top}));
  let_write(guest);
  guest.stop();
  close();
  EXPECT_TRUE(std::filesystem::equivalent(parent_of(path("copy"), GetParam().format), path()));
  expect_image(path("copy"), GetParam().format);
}

}  // namespace
}  // namespace vireo::image
