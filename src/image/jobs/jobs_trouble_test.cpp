#include <gmock/gmock.h>
#include <sys/stat.h>

#include <filesystem>

#include "image/bitmaps/dirty_bitmaps.h"
#include "image/jobs/target_image.h"
#include "image/jobs/testing/guest.h"
#include "image/operations/bitmap.h"
#include "image/operations/check.h"
#include "image/testing/recorder.h"

// What goes wrong beside the guest stays there.
namespace vireo::image {
namespace {

using namespace image::testing;  // NOLINT: the tests' own vocabulary
using ::testing::HasSubstr;

constexpr u64 disk_bytes{6 * MiB};

class JobTrouble : public ::testing::Test {
 protected:
  JobTrouble() {
    Recorder::waits_for_disk = false;
    start("d", shadow_);
  }
  ~JobTrouble() override {
    Recorder::full_file = 0;
    Recorder::waits_for_disk = true;
  }
  std::string path(std::string const& name) const { return folder_ / (name + ".qcow2"); }
  void start(std::string const& name, Shadow& shadow) {
    ASSERT_TRUE(create_image({.path = path(name), .format = "qcow2", .bytes = disk_bytes}));
    auto const made = edit_bitmap({path(name), "qcow2"},
                                  {.action = BitmapEdit::Action::add, .name = "b", .granularity = 4096});
    ASSERT_TRUE(made) << made.error().what();
    auto disk = LiveDisk::open(
        {.path = path(name), .format = "qcow2", .cache = CacheMode::unsafe, .follow_references = true});
    ASSERT_TRUE(disk) << disk.error().what();
    auto random = std::mt19937_64{7};
    for (auto step = 0; step < 60; ++step) change(**disk, shadow, random);
    table_->add_disk(name, *disk);
  }
  LiveDisk& disk(std::string const& name = "d") { return **table_->disk(name); }
  JobTarget target() const { return {.path = path("target"), .format = "qcow2"}; }
  std::string begin(JobSpec const& spec) {
    auto const id = table_->start(spec);
    EXPECT_TRUE(id) << id.error().what();
    return id.value_or("none");
  }
  JobInfo wait_for(std::string const& id, JobState state) {
    auto const info = table_->wait(id, [&](JobInfo const& each) { return each.state == state; }, 60000);
    EXPECT_TRUE(info && info->state == state) << (info ? info->error : info.error().what());
    return info.value_or(JobInfo{});
  }
  u64 marked_bytes() {
    auto marked = u64{0};
    auto const looked = disk().with_image([&](BlockImage& image) -> Result<> {
      marked = TRY(image.dirty_bitmaps()->copy("b")).info().dirty_bytes;
      return {};
    });
    EXPECT_TRUE(looked);
    return marked;
  }
  void fill_up(std::string const& file) {
    struct stat status{};
    ASSERT_EQ(::stat(file.c_str(), &status), 0);
    Recorder::full_file = status.st_ino;
  }
  void close_and_expect(std::string const& image, Shadow const& shadow) {
    table_.reset();
    expect_same(*opened(image, {.format = "qcow2", .follow_references = true}), shadow);
    EXPECT_EQ(check_image(image, "qcow2", Repair::none)->corruptions, 0u);
  }

  TestFolder folder_;
  Shadow shadow_ = Shadow(disk_bytes);
  OnMove on_move_;
  std::unique_ptr<JobTable> table_ = std::make_unique<JobTable>(
      JobControl::Observer{}, [this](std::string const& name, DiskSource const& now) -> Result<> {
        return on_move_ ? on_move_(name, now) : Result<>{};
      });
};

TEST_F(JobTrouble, AMirrorWhoseTargetIsFullFailsAndIsResumed) {
  auto const id = begin(MirrorSpec{.disk = "d", .target = target(), .rate = 65536});
  {
    auto guest = Guest{disk(), shadow_};
    fill_up(path("target"));
    ASSERT_TRUE(table_->set_rate(id, 0));
    EXPECT_THAT(wait_for(id, JobState::failed).error, HasSubstr("target.qcow2"));
    Recorder::full_file = 0;
    EXPECT_THAT(table_->start(MirrorSpec{.disk = "d", .target = target()}).error().what(), HasSubstr("resume"));
    auto const again = begin(MirrorSpec{.disk = "d", .target = target(), .resume = true});
    EXPECT_EQ(wait_for(again, JobState::ready).note, "goes on by comparing");
    ASSERT_TRUE(table_->complete(again));
    wait_for(again, JobState::completed);
  }
  close_and_expect(path("target"), shadow_);
}

TEST_F(JobTrouble, AMirrorPausesWhenItIsToldSoAndGoesOn) {
  auto const id = begin(MirrorSpec{.disk = "d", .target = target(), .on_target_error = OnTargetError::pause});
  {
    auto guest = Guest{disk(), shadow_};
    wait_for(id, JobState::ready);
    fill_up(path("target"));
    wait_for(id, JobState::paused);
    Recorder::full_file = 0;
    ASSERT_TRUE(table_->resume(id));
    wait_for(id, JobState::ready);
    ASSERT_TRUE(table_->complete(id));
    wait_for(id, JobState::completed);
  }
  close_and_expect(path("target"), shadow_);
}

TEST_F(JobTrouble, ABackupThatFailsGivesItsBitmapBack) {
  auto const before = marked_bytes();
  auto const id =
      begin(BackupSpec{.disk = "d", .target = target(), .bitmap = "b", .incremental = true, .rate = 65536});
  {
    auto guest = Guest{disk(), shadow_};
    fill_up(path("target"));
    ASSERT_TRUE(table_->set_rate(id, 0));
    wait_for(id, JobState::failed);
  }
  Recorder::full_file = 0;
  auto const after = marked_bytes();
  EXPECT_GE(after, before);
  close_and_expect(path("d"), shadow_);
}

TEST_F(JobTrouble, AStreamOfAFullDiskFailsAndTheChainStays) {
  ASSERT_TRUE(table_->snapshot({{.disk = "d", .path = path("top")}}));
  fill_up(path("top"));
  auto const id = begin(StreamSpec{.disk = "d"});
  wait_for(id, JobState::failed);
  Recorder::full_file = 0;
  wait_for(begin(StreamSpec{.disk = "d"}), JobState::completed);
  close_and_expect(path("top"), shadow_);
}

TEST_F(JobTrouble, ARateHoldsAJobUpUntilItIsTakenAway) {
  auto const id = begin(BackupSpec{.disk = "d", .target = target(), .rate = 65536});
  auto const info = *table_->info(id);
  EXPECT_EQ(info.state, JobState::running);
  ASSERT_TRUE(table_->set_rate(id, 0));
  wait_for(id, JobState::completed);
  EXPECT_EQ(table_->info(id)->done, disk_bytes);
}

TEST_F(JobTrouble, SnapshotsAndBackupsOfSeveralDisksAreOfOneInstant) {
  auto other = Shadow(disk_bytes);
  start("e", other);
  auto stop = std::atomic<bool>{};
  auto writer = std::jthread{[&] {
    auto bytes = Shadow(512);
    for (auto number = u64{1}; !stop; ++number) {  // first here, then there
      store_le(bytes.data(), number);
      ASSERT_TRUE(disk("d").write(0, bytes));
      ASSERT_TRUE(disk("e").write(0, bytes));
    }
  }};
  auto const ids =
      table_->start_all({BackupSpec{.disk = "d", .target = target()},
                         BackupSpec{.disk = "e", .target = {.path = path("target2"), .format = "qcow2"}}});
  ASSERT_TRUE(ids) << ids.error().what();
  for (auto const& id : *ids) wait_for(id, JobState::completed);
  auto const done = table_->snapshot({{.disk = "d", .path = path("d2")}, {.disk = "e", .path = path("e2")}});
  stop = true;
  writer.join();
  ASSERT_TRUE(done) << done.error().what();
  table_.reset();
  auto const number = [&](std::string const& name) {
    auto bytes = Shadow(512);
    EXPECT_TRUE(opened(path(name), {.format = "qcow2", .follow_references = true})->read(0, bytes));
    return load_le<u64>(bytes.data());
  };
  EXPECT_LE(number("d") - number("e"), 1u);
  EXPECT_LE(number("target") - number("target2"), 1u);
  EXPECT_GE(number("d2"), number("d"));
}

TEST_F(JobTrouble, ASnapshotOfSeveralDisksIsOfAllOrNone) {
  auto other = Shadow(disk_bytes);
  start("e", other);
  auto const failed = table_->snapshot({{.disk = "d", .path = path("d2")}, {.disk = "e", .path = path("e")}});
  ASSERT_FALSE(failed);
  EXPECT_EQ(disk("d").source().path, path("d"));
  EXPECT_FALSE(std::filesystem::exists(path("d2")));
  EXPECT_FALSE(std::filesystem::exists(job_record(path("d2"))));
  auto guest = Guest{disk(), shadow_};
  while (guest.changes < 60 && !HasFailure()) std::this_thread::yield();
  guest.stop();
  EXPECT_EQ(open_image(path("d"), {.format = "qcow2", .read_only = true}).error().code(), Errc::busy);
  close_and_expect(path("d"), shadow_);
}

TEST_F(JobTrouble, WhoKeepsTheDisksNameMayKeepItWhereItIs) {
  on_move_ = [](std::string const&, DiskSource const&) -> Result<> {
    return fail(Errc::io, "cannot be stored");
  };
  EXPECT_FALSE(table_->snapshot({{.disk = "d", .path = path("top")}}));
  auto const id = begin(MirrorSpec{.disk = "d", .target = target()});
  wait_for(id, JobState::ready);
  ASSERT_TRUE(table_->complete(id));
  EXPECT_THAT(wait_for(id, JobState::failed).error, HasSubstr("cannot be stored"));
  EXPECT_EQ(disk().source().path, path("d"));
  close_and_expect(path("d"), shadow_);
}

TEST_F(JobTrouble, RefusesATargetThatIsADiskInUse) {
  auto const refused =
      table_->start(MirrorSpec{.disk = "d", .target = {.path = path("d"), .format = "qcow2", .exists = true}});
  EXPECT_EQ(refused.error().code(), Errc::busy);
  EXPECT_EQ(table_->start(StreamSpec{.disk = "d"}).error().code(), Errc::invalid);
  EXPECT_EQ(table_->start(CommitSpec{.disk = "d"}).error().code(), Errc::invalid);
  EXPECT_EQ(table_->start(StreamSpec{.disk = "x"}).error().code(), Errc::not_found);
  EXPECT_EQ(table_->cancel("mirror-9").error().code(), Errc::not_found);
  close_and_expect(path("d"), shadow_);
}

}  // namespace
}  // namespace vireo::image
