#include "image/operations/bitmap.h"
#include "image/operations/check.h"
#include "image/operations/create.h"
#include "image/operations/describe.h"
#include "image/operations/layers.h"
#include "image/operations/resize.h"
#include "image/operations/snapshot.h"
#include "image/testing/crash_states.h"

// The power fails while an image is resized, takes a snapshot, goes back to one, or is committed to.
namespace vireo::image {
namespace {

using namespace image::testing;  // NOLINT: the tests' own vocabulary

constexpr u64 small{1 * MiB};
constexpr u64 large{96 * MiB};

struct Operation {
  std::string name;
  std::string format;
  std::map<std::string, std::string> options;
  u64 bytes;
  /// On the disk that has been written to: what is done before, and what the power fails in.
  Result<> (*prepare)(TestFolder const& folder, std::string const& path);
  Result<> (*act)(TestFolder const& folder, std::string const& path);
  bool keeps_content{true};  // else each sector is old or new
};
void PrintTo(Operation const& operation, std::ostream* stream) { *stream << operation.name; }

Result<> nothing(TestFolder const&, std::string const&) { return {}; }
Result<> grow(TestFolder const&, std::string const& path) {
  return resize_image({.path = path, .bytes = large});
}
Result<> shrink(TestFolder const&, std::string const& path) {
  return resize_image({.path = path, .bytes = small / 2 + 512, .shrink = true});
}
Result<> scribble(std::string const& path, u64 seed) {
  auto const image = TRY(open_image(path, {.follow_references = true}));
  auto random = std::mt19937_64{seed};
  for (auto round = 0; round < 12; ++round) {
    auto const at = random() % (small - 40960) / 512 * 512;
    TRY(image->write(at, noise(random() % 40 * 512 + 512, random)));
    if (round % 4 == 3) TRY(image->discard(random() % small / 65536 * 65536, 65536));
  }
  return image->flush();
}
Result<> snapshot(TestFolder const&, std::string const& path) {
  return create_snapshot({path, "qcow2"}, "one");
}
Result<> two_states(TestFolder const& folder, std::string const& path) {
  TRY(snapshot(folder, path));
  return scribble(path, 7);
}
Result<> go_back(TestFolder const&, std::string const& path) { return apply_snapshot({path, "qcow2"}, "one"); }
Result<> forget(TestFolder const&, std::string const& path) { return delete_snapshot({path, "qcow2"}, "one"); }
Result<> child(TestFolder const& folder, std::string const& path) {
  TRY(create_image({.path = folder / "child", .format = "qcow2", .backing = {path, "qcow2"}}));
  return scribble(folder / "child", 8);
}
Result<> commit(TestFolder const& folder, std::string const&) {
  return commit_image({.path = folder / "child", .keep = true});
}
Result<> bitmap(TestFolder const&, std::string const& path) {
  return edit_bitmap({path, "qcow2"}, {.action = BitmapEdit::Action::add, .name = "b", .granularity = 4096});
}
Result<> write_and_close(TestFolder const&, std::string const& path) { return scribble(path, 9); }

using Options = std::map<std::string, std::string>;
auto const tiny = Options{{"cluster_size", "512"}, {"refcount_bits", "64"}};
auto const parts = Options{{"cluster_size", "16384"}, {"extended_l2", "on"}};

class PowerLoss : public ::testing::TestWithParam<Operation> {
 protected:
  PowerLoss() { Recorder::waits_for_disk = false; }
  ~PowerLoss() override { Recorder::waits_for_disk = true; }

  void prepare() {
    auto const created = create_image(
        {.path = path(), .format = kind().format, .bytes = kind().bytes, .options = kind().options});
    ASSERT_TRUE(created) << created.error().what();
    ASSERT_TRUE(scribble(path(), 1));
    auto const prepared = kind().prepare(folder_, path());
    ASSERT_TRUE(prepared) << prepared.error().what();
    before_ = content(path());
    file_ = file_bytes(path());
  }
  std::vector<Event> act_and_record() {
    auto const recorder = Recorder{path()};
    auto const done = kind().act(folder_, path());
    EXPECT_TRUE(done) << done.error().what();
    return recorder.events;
  }
  Shadow content(std::string const& image) const {
    auto const disk = opened(image, {.format = kind().format});
    auto bytes = Shadow(disk ? disk->geometry().bytes : 0);
    EXPECT_TRUE(disk && disk->read(0, bytes));
    return bytes;
  }
  /// Each sector is old, or new where the operation changes it; a bitmap that is good for something knows.
  void expect_old_or_new(std::string const& image, std::size_t moment) const {
    auto const report = check_image(image, kind().format, Repair::none);
    ASSERT_TRUE(report) << report.error().what() << " at " << moment;
    ASSERT_EQ(report->corruptions, 0u) << ::testing::PrintToString(report->findings) << " at " << moment;
    auto const now = content(image);
    ASSERT_TRUE(now.size() == before_.size() || now.size() == after_.size()) << now.size();
    auto const bitmap = read_bitmap({image, kind().format}, "b");
    auto const is_marked = [&](u64 at) {
      auto const range = bitmap ? bitmap->next(at) : std::nullopt;
      return !bitmap || at >= bitmap->bytes() || (range && range->start <= at);
    };
    for (auto at = u64{0}; at < now.size(); at += sector) {
      auto const is = [&](Shadow const& other) {
        auto const end = std::min<u64>(at + sector, other.size());
        return at < end && std::memcmp(now.data() + at, other.data() + at, end - at) == 0;
      };
      auto const fresh = at >= std::min(before_.size(), after_.size());
      ASSERT_TRUE(fresh || is(before_) || (!kind().keeps_content && is(after_)))
          << "offset " << at << " at " << moment;
      ASSERT_TRUE(fresh || is(before_) || is_marked(at)) << "offset " << at << " at " << moment;
    }
  }
  Operation const& kind() const { return GetParam(); }
  std::string path() const { return folder_ / "disk"; }
  TestFolder folder_;
  Shadow before_;
  Shadow after_;
  Shadow file_;
};
INSTANTIATE_TEST_SUITE_P(
    All, PowerLoss,
    ::testing::Values(
        Operation{"qcow2 grows", "qcow2", tiny, small, nothing, grow},
        Operation{"qcow2 of subclusters grows", "qcow2", parts, small, nothing, grow},
        Operation{"qcow2 shrinks", "qcow2", {}, small, nothing, shrink},
        Operation{"qcow2 with bitmaps grows", "qcow2", tiny, small, bitmap, grow},
        Operation{"qcow2 takes a snapshot", "qcow2", tiny, small, nothing, snapshot},
        Operation{
            "qcow2 takes another snapshot", "qcow2", parts, small, two_states,
            [](TestFolder const&, std::string const& path) { return create_snapshot({path, "qcow2"}, "two"); }},
        Operation{"qcow2 goes back", "qcow2", {}, small, two_states, go_back, false},
        Operation{"qcow2 of subclusters goes back", "qcow2", parts, small, two_states, go_back, false},
        Operation{"qcow2 forgets a snapshot", "qcow2", {}, small, two_states, forget},
        Operation{"qcow2 is committed to", "qcow2", {}, small, child, commit, false},
        Operation{"qcow2 records in a bitmap", "qcow2", tiny, small, bitmap, write_and_close, false},
        Operation{"vdi grows", "vdi", {}, 2 * small, nothing, grow},
        Operation{"vdi shrinks", "vdi", {}, 2 * small, nothing, shrink},
        Operation{"vhd grows", "vhd", {}, 2 * small, nothing, grow},
        Operation{"vhd shrinks", "vhd", {}, 2 * small, nothing, shrink},
        Operation{"vmdk grows", "vmdk", {}, small, nothing, grow},
        Operation{"vmdk shrinks", "vmdk", {}, small, nothing, shrink}));

TEST_P(PowerLoss, LeavesTheDiskAsItWasOrAsItWillBe) {
  prepare();
  auto const events = act_and_record();
  after_ = content(path());
  ASSERT_FALSE(HasFailure());
  auto random = std::mt19937_64{2};
  auto const states = for_each_crash_state(
      file_, events, folder_ / "crashed", attempts_for(events.size(), 4), random,
      [&](std::string const& crashed, std::size_t count) { expect_old_or_new(crashed, count); });
  EXPECT_GT(states, 8);
  RecordProperty("states", states);
}

TEST_P(PowerLoss, AndAFullDiskLeaveTheDiskAsItWasOrAsItWillBe) {
  prepare();
  act_and_record();
  after_ = content(path());
  ASSERT_FALSE(HasFailure());
  auto reached_end = false;
  for (auto writes = 3; writes < 90 && !reached_end && !HasFailure(); ++writes) {
    write_flat(path(), file_);
    Recorder::writes_to_full_disk = writes;
    auto const done = kind().act(folder_, path());
    reached_end = Recorder::writes_to_full_disk >= 3;
    Recorder::writes_to_full_disk = -1000;
    EXPECT_TRUE(done || !reached_end);
    expect_old_or_new(path(), static_cast<std::size_t>(writes));
  }
}

}  // namespace
}  // namespace vireo::image
