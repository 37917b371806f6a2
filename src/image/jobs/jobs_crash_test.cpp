#include <fmt/format.h>
#include <gmock/gmock.h>
#include <sys/mman.h>
#include <sys/wait.h>

#include <csignal>
#include <new>

#include "image/jobs/job_table.h"
#include "image/jobs/target_image.h"
#include "image/jobs/testing/sector_ages.h"
#include "image/operations/check.h"
#include "image/testing/recorder.h"

// The process is killed at some moment of a job, while its guest writes. Afterwards the disk opens, its tables
// are right, it holds what was flushed, and the same job goes on to its end.
namespace vireo::image {
namespace {

using namespace image::testing;  // NOLINT: the tests' own vocabulary

/// What the killed process told before.
struct Told {
  SectorAges ages;
  std::array<std::array<char, 256>, 2> paths{};  // where its disk is, by turns
  std::atomic<u32> moves{};
  std::atomic<bool> runs{};
  std::array<char, 1024> error{};

  static std::unique_ptr<Told, void (*)(Told*)> share() {
    auto* const memory =
        ::mmap(nullptr, sizeof(Told), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    // SOUND: fresh memory of that size, aligned to a page, shared with the child that fork() makes.
    return {new (memory) Told{}, [](Told* told) { ::munmap(told, sizeof(Told)); }};
  }
  void be_at(std::string const& now) {
    auto& next = paths[(moves + 1) % 2];
    next.fill('\0');
    now.copy(next.data(), next.size() - 1);
    ++moves;
  }
  std::string path() const { return paths[moves % 2].data(); }
};

enum class Action : u8 { snapshot, stream, commit, commit_middle, mirror, backup };
struct Case {
  std::string name;
  Action action;
  std::string format;
};
void PrintTo(Case const& each, std::ostream* stream) { *stream << each.name << " on " << each.format; }

std::vector<Case> cases() {
  auto all = std::vector<Case>{};
  for (auto const* format : {"qcow2", "vmdk", "vhd", "vhdx", "vdi"}) {
    all.push_back({"snapshot", Action::snapshot, format});
    all.push_back({"stream", Action::stream, format});
    all.push_back({"commit", Action::commit, format});
    all.push_back({"commit of a middle layer", Action::commit_middle, format});
    all.push_back({"mirror", Action::mirror, format});
    all.push_back({"backup", Action::backup, format});
  }
  all.push_back({"mirror", Action::mirror, "raw"});
  all.push_back({"backup", Action::backup, "raw"});
  all.push_back({"snapshot", Action::snapshot, "raw"});
  return all;
}

class KilledJobs : public ::testing::TestWithParam<Case> {
 protected:
  KilledJobs() { Recorder::waits_for_disk = false; }
  ~KilledJobs() override { Recorder::waits_for_disk = true; }

  std::string const& format() const { return GetParam().format; }
  std::string path(std::string const& stem) const { return *folder_ / (stem + "." + format()); }

  /// disk, and middle and top above it where the job needs a chain; each holds some sectors.
  void prepare(std::mt19937_64& random) {
    folder_ = std::make_unique<TestFolder>();
    told_ = Told::share();
    ASSERT_TRUE(create_image({.path = path("disk"), .format = format(), .bytes = SectorAges::disk_bytes}));
    auto top = path("disk");
    write_some(top, 1, random);
    auto const action = GetParam().action;
    if (action == Action::stream || action == Action::commit || action == Action::commit_middle) {
      for (auto const* stem : {"middle", "top"}) {
        auto const by_path = format() == "vdi" || format() == "vhd";
        auto const backing = by_path ? top : std::filesystem::path{top}.filename().string();
        ASSERT_TRUE(create_image({.path = path(stem), .format = format(), .backing = {backing, format()}}));
        top = path(stem);
        write_some(top, stem == std::string{"top"} ? 3 : 2, random);
      }
    }
    told_->be_at(top);
  }
  void write_some(std::string const& image, u32 age, std::mt19937_64& random) {
    auto const disk = opened(image, {.format = format(), .follow_references = true});
    for (auto part = 0; part < 6; ++part) {
      auto const first = random() % SectorAges::count;
      auto const sectors = std::min(random() % 300 + 1, SectorAges::count - first);
      ASSERT_TRUE(told_->ages.write(*disk, first, sectors, age));
    }
    told_->ages.flushed_up_to_now(0, SectorAges::count);
  }

  JobSpec spec(bool resume) const {
    auto const target = JobTarget{.path = *folder_ / "target.qcow2", .format = "qcow2"};
    switch (GetParam().action) {
      case Action::stream: return StreamSpec{.disk = "d"};
      case Action::commit: return CommitSpec{.disk = "d", .base = path("disk"), .resume = resume};
      case Action::commit_middle: return CommitSpec{.disk = "d", .top = path("middle"), .resume = resume};
      case Action::backup: return BackupSpec{.disk = "d", .target = target, .resume = resume};
      default: return MirrorSpec{.disk = "d", .target = target, .resume = resume};
    }
  }
  static std::string format_of(std::string const& image) { return image.substr(image.rfind('.') + 1); }
  static Result<std::shared_ptr<LiveDisk>> open_live(std::string const& image) {
    return LiveDisk::open(
        {.path = image, .format = format_of(image), .cache = CacheMode::writeback, .follow_references = true});
  }

  // In the process that is killed.
  Result<> live() {
    auto const disk = TRY(open_live(told_->path()));
    auto table = JobTable{{}, [&](std::string const&, DiskSource const& now) -> Result<> {
                            told_->be_at(now.path);
                            return {};
                          }};
    table.add_disk("d", disk);
    auto guests = std::vector<std::jthread>{};
    for (auto number = u64{0}; number < 2; ++number)
      guests.emplace_back([&, number] { write_for_ever(*disk, number); });
    told_->runs = true;
    if (GetParam().action == Action::snapshot) {
      for (auto number = 0; number < 60; ++number) {
        auto const overlay = format() == "raw" ? std::string{"qcow2"} : format();
        auto const path = *folder_ / fmt::format("s{}.{}", number, overlay);
        TRY(table.snapshot({{.disk = "d", .path = path}}));
      }
    } else {
      auto const id = TRY(table.start(spec(false)));
      auto const info = TRY(table.wait(id, [](JobInfo const& each) { return each.state == JobState::ready; }));
      if (info.state == JobState::failed) return fail(Errc::io, info.error);
      if (info.state == JobState::ready) TRY(table.complete(id));
    }
    guests.clear();
    return {};
  }
  void write_for_ever(BlockImage& disk, u64 number) {
    auto random = std::mt19937_64{number};
    auto const part = SectorAges::count / 2;
    for (auto age = u32{4};; ++age) {
      auto const first = random() % part;
      auto const sectors = std::min(random() % 40 + 1, part - first);
      if (!told_->ages.write(disk, number * part + first, sectors, age)) ::_exit(4);
      if (random() % 8 == 0) {
        if (!disk.flush()) ::_exit(5);
        told_->ages.flushed_up_to_now(number * part, (number + 1) * part);
      }
    }
  }
  void run_and_kill(u64 microseconds) {
    auto const child = ::fork();
    if (child == 0) {
      auto const outcome = live();
      if (!outcome) outcome.error().what().copy(told_->error.data(), told_->error.size() - 1);
      ::_exit(3);
    }
    while (!told_->runs && ::waitpid(child, nullptr, WNOHANG) == 0) std::this_thread::yield();
    std::this_thread::sleep_for(std::chrono::microseconds{microseconds});
    ::kill(child, SIGKILL);
    auto status = 0;
    ::waitpid(child, &status, 0);
    ASSERT_TRUE(told_->runs && !WIFEXITED(status)) << WEXITSTATUS(status) << " " << told_->error.data();
  }

  Shadow content(std::string const& image) {
    auto bytes = Shadow(SectorAges::disk_bytes);
    auto const disk =
        open_image(image, {.format = format_of(image), .read_only = true, .follow_references = true});
    EXPECT_TRUE(disk) << disk.error().what();
    EXPECT_TRUE(!disk || (*disk)->read(0, bytes));
    return bytes;
  }
  void expect_whole(std::string const& image) {
    auto const chain = read_chain(image, format_of(image), true);
    ASSERT_TRUE(chain) << chain.error().what();
    for (auto const& layer : *chain) {
      if (layer.description.format == "raw") continue;
      auto const report = check_image(layer.path, layer.description.format, Repair::none);
      ASSERT_TRUE(report) << report.error().what();
      EXPECT_EQ(report->corruptions, 0u) << layer.path << ::testing::PrintToString(report->findings);
    }
  }

  /// The same job, until its end; nobody writes.
  void go_on(std::string const& image, Shadow const& disk) {
    auto const chain = read_chain(image, format_of(image), true)->size();
    auto const action = GetParam().action;
    auto const over = (action == Action::stream && chain == 1) || (action == Action::commit && chain == 1) ||
                      (action == Action::commit_middle && chain == 2) || action == Action::snapshot ||
                      image == *folder_ / "target.qcow2";
    if (over) return;
    auto const live = open_live(image);
    ASSERT_TRUE(live) << live.error().what();
    auto now = image;
    auto table = JobTable{{}, [&](std::string const&, DiskSource const& source) -> Result<> {
                            now = source.path;
                            return {};
                          }};
    table.add_disk("d", *live);
    auto const id = table.start(spec(has_record()));
    if (!id && id.error().code() == Errc::busy && action != Action::commit) return;  // it was whole already
    ASSERT_TRUE(id) << id.error().what();
    auto info = table.wait(*id, [](JobInfo const& each) { return each.state == JobState::ready; });
    if (info->state == JobState::ready) {
      ASSERT_TRUE(table.complete(*id));
      info = table.wait(*id);
    }
    ASSERT_EQ(info->state, JobState::completed) << info->error;
    auto after = Shadow(disk.size());
    ASSERT_TRUE((*live)->read(0, after));
    EXPECT_TRUE(after == disk);
    ASSERT_TRUE(table.forget(*id));
    told_->be_at(now);
    EXPECT_TRUE(action != Action::backup || content(*folder_ / "target.qcow2") == disk);
  }
  bool has_record() const {
    return GetParam().action == Action::commit || GetParam().action == Action::commit_middle ||
           !read_job_record(*folder_ / "target.qcow2").empty();
  }

  std::unique_ptr<TestFolder> folder_;
  std::unique_ptr<Told, void (*)(Told*)> told_{nullptr, [](Told*) {}};
};
INSTANTIATE_TEST_SUITE_P(All, KilledJobs, ::testing::ValuesIn(cases()));

TEST_P(KilledJobs, LeaveTheDiskWholeAndGoOn) {
  auto const* const wanted = std::getenv("VIREO_KILLS");
  auto const kills = wanted == nullptr ? 3 : std::atoi(wanted);
  auto random = std::mt19937_64{static_cast<u64>(kills)};
  for (auto round = 0; round < kills && !HasFailure(); ++round) {
    prepare(random);
    ASSERT_FALSE(HasFailure());
    run_and_kill(random() % 30000);
    ASSERT_FALSE(HasFailure()) << "round " << round;
    auto const image = told_->path();
    auto const disk = content(image);
    told_->ages.expect_allows(disk);
    expect_whole(image);
    ASSERT_FALSE(HasFailure()) << "round " << round;
    go_on(image, disk);
    auto const end = told_->path();
    EXPECT_TRUE(content(end) == disk) << "round " << round;
    expect_whole(end);
    ASSERT_FALSE(HasFailure()) << "round " << round << " " << folder_->path();
  }
  RecordProperty("kills", kills);
}

}  // namespace
}  // namespace vireo::image
