#include <fcntl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <atomic>
#include <cerrno>
#include <future>

#include "image/create_qcow2.h"
#include "image/create_vdi.h"
#include "image/create_vhd.h"
#include "image/create_vmdk.h"
#include "image/operations/check.h"
#include "image/operations/create.h"
#include "image/testing/crash_states.h"
#include "image/testing/random_disk.h"

// What a disk looks like after the power failed: everything up to the last sync is there, of what came later
// any part, sector by sector. Each sector of the guest's says which it is and how new.
namespace vireo::image {
namespace {

using namespace image::testing;  // NOLINT: the tests' own vocabulary

}  // namespace
}  // namespace vireo::image

// In place of the C library's, in this test program.
using vireo::image::testing::Event;
using vireo::image::testing::Recorder;

extern "C" ssize_t pwrite(int fd, void const* bytes, std::size_t count, off_t at) {
  if (Recorder::is_full(fd)) {
    errno = ENOSPC;
    return -1;
  }
  if (--Recorder::writes_to_full_disk >= 0 && Recorder::writes_to_full_disk < 3) {
    errno = ENOSPC;
    return -1;
  }
  auto const written = ::syscall(SYS_pwrite64, fd, bytes, count, at);
  auto const* const from = static_cast<std::byte const*>(bytes);
  if (written > 0) {
    Recorder::add(fd, {.kind = Event::Kind::write,
                       .at = static_cast<vireo::u64>(at),
                       .length = static_cast<vireo::u64>(written),
                       .bytes = {from, from + written}});
  }
  return written;
}
extern "C" int fallocate(int fd, int mode, off_t at, off_t length) {
  auto const outcome = static_cast<int>(::syscall(SYS_fallocate, fd, mode, at, length));
  auto const zeroes = (mode & (FALLOC_FL_PUNCH_HOLE | FALLOC_FL_ZERO_RANGE)) != 0;
  if (outcome == 0 && zeroes) {
    Recorder::add(fd, {.kind = Event::Kind::zero,
                       .at = static_cast<vireo::u64>(at),
                       .length = static_cast<vireo::u64>(length)});
  }
  return outcome;
}
extern "C" int ftruncate(int fd, off_t length) noexcept {
  auto const outcome = static_cast<int>(::syscall(SYS_ftruncate, fd, length));
  if (outcome == 0) {
    Recorder::add(fd, {.kind = Event::Kind::size, .at = static_cast<vireo::u64>(length)});
  }
  return outcome;
}
extern "C" int fdatasync(int fd) {
  if (Recorder::next_sync_lasts && !Recorder::sync_is_lasting.exchange(true))
    Recorder::next_sync_lasts.wait(true);
  Recorder::add(fd, {.kind = Event::Kind::sync});
  return Recorder::waits_for_disk ? static_cast<int>(::syscall(SYS_fdatasync, fd)) : 0;
}

extern "C" int fsync(int fd) {
  Recorder::add(fd, {.kind = Event::Kind::sync});
  return Recorder::waits_for_disk ? static_cast<int>(::syscall(SYS_fsync, fd)) : 0;
}

namespace vireo::image {
namespace {

constexpr u64 disk_bytes{256 * KiB};
constexpr u64 disk_sectors{disk_bytes / sector};
constexpr u64 from_parent{1};  // the age of what the parent has

Shadow sectors_of_age(u64 first, u64 count, u64 age) {
  auto bytes = Shadow(count * sector);
  for (auto at = u64{0}; at < bytes.size() && age != 0; at += 8) {
    store_le(bytes.data() + at, (first + at / sector + 1) << 32 | age);
  }
  return bytes;
}

/// Nothing when it is another sector's, or torn.
std::optional<u64> age_of(ConstBytes bytes, u64 number) {
  auto const first = load_le<u64>(bytes.data());
  for (auto at = u64{0}; at < sector; at += 8) {
    if (load_le<u64>(bytes.data() + at) != first) return std::nullopt;
  }
  if (first == 0) return 0;
  return first >> 32 == number + 1 ? std::optional{first & 0xffffffff} : std::nullopt;
}

/// What the guest did to each sector, oldest first, and what it knows to be safe.
class History {
 public:
  explicit History(u64 age) : changes_(disk_sectors, {{0, age}}) {}
  void add(u64 number, u64 started, u64 age) { changes_[number].push_back({started, age}); }
  void flushed(u64 events) {
    auto mark = Mark{events, {}};
    for (auto const& each : changes_) mark.newest.push_back(each.size() - 1);
    marks_.push_back(std::move(mark));
  }
  /// After the power failed when so many events were on their way.
  bool allows(u64 number, u64 age, u64 events) const {
    auto oldest = std::size_t{0};
    for (auto const& mark : marks_) {
      if (mark.events <= events) oldest = mark.newest[number];
    }
    auto const& all = changes_[number];
    for (auto index = oldest; index < all.size(); ++index) {
      if (all[index].age == age && (index == oldest || all[index].started < events)) return true;
    }
    return false;
  }

 private:
  struct Change {
    u64 started{};  // how many events came before
    u64 age{};
  };
  struct Mark {
    u64 events{};
    std::vector<std::size_t> newest;
  };
  std::vector<std::vector<Change>> changes_;
  std::vector<Mark> marks_;
};

struct Format {
  std::string name;
  OpenOptions options;
  bool child{};
  Result<> (*create)(TestFolder const& folder, std::string const& path);
};
void PrintTo(Format const& format, std::ostream* stream) { *stream << format.name; }

void work(BlockImage& image, Recorder const& recorder, History& history, std::mt19937_64& random) {
  for (auto age = from_parent + 1; age < 120; ++age) {
    auto const started = recorder.events.size();
    auto const first = random() % disk_sectors;
    auto const count = std::min(random() % 24 + 1, disk_sectors - first);
    switch (random() % 8) {
      case 0:
        ASSERT_TRUE(image.flush());
        history.flushed(recorder.events.size());
        continue;
      case 1: ASSERT_TRUE(image.write_zeroes(first * sector, count * sector, random() % 2 == 0)); break;
      case 2: ASSERT_TRUE(image.discard(first * sector, count * sector)); break;
      default: ASSERT_TRUE(image.write(first * sector, sectors_of_age(first, count, age)));
    }
    auto bytes = Shadow(count * sector);
    ASSERT_TRUE(image.read(first * sector, bytes));
    for (auto each = u64{0}; each < count; ++each) {
      auto const now = age_of(ConstBytes{bytes}.subspan(each * sector, sector), first + each);
      ASSERT_TRUE(now);
      history.add(first + each, started, *now);
    }
  }
}

Shadow ages(BlockImage& image, History const& history, u64 events) {
  auto bytes = Shadow(disk_bytes);
  auto const read = image.read(0, bytes);
  EXPECT_TRUE(read) << read.error().what();
  for (auto number = u64{0}; number < disk_sectors; ++number) {
    auto const age = age_of(ConstBytes{bytes}.subspan(number * sector, sector), number);
    EXPECT_TRUE(age) << "sector " << number << " holds another's data, or a torn one, at event " << events;
    EXPECT_TRUE(!age || history.allows(number, *age, events))
        << "sector " << number << " is of age " << *age << " at event " << events;
  }
  return bytes;
}

class Trouble : public ::testing::TestWithParam<Format> {
 protected:
  // The power fails here on paper only.
  Trouble() { Recorder::waits_for_disk = false; }
  ~Trouble() override { Recorder::waits_for_disk = true; }
};
INSTANTIATE_TEST_SUITE_P(
    All, Trouble,
    ::testing::Values(
        Format{"vdi",
               {.format = "vdi"},
               false,
               [](TestFolder const&, std::string const& path) -> Result<> {
                 return create_vdi(path, disk_bytes, {.block_bytes = 4096});
               }},
        Format{"vdi over a parent",
               {.format = "vdi", .follow_references = true},
               true,
               [](TestFolder const& folder, std::string const& path) -> Result<> {
                 TRY(create_vdi(folder / "base.vdi", disk_bytes, {.block_bytes = 4096}));
                 auto const base = TRY(open_image(folder / "base.vdi"));
                 TRY(base->write(0, sectors_of_age(0, disk_sectors, from_parent)));
                 TRY(base->flush());
                 return create_vdi(path, 0, {.parent = folder / "base.vdi", .block_bytes = 4096});
               }},
        Format{"vhd",
               {.format = "vhd"},
               false,
               [](TestFolder const&, std::string const& path) -> Result<> {
                 return create_vhd(path, disk_bytes, {.block_bytes = 4096});
               }},
        Format{"vhd over a parent",
               {.format = "vhd", .follow_references = true},
               true,
               [](TestFolder const& folder, std::string const& path) -> Result<> {
                 TRY(create_vhd(folder / "base.vhd", disk_bytes, {.block_bytes = 4096}));
                 auto const base = TRY(open_image(folder / "base.vhd"));
                 TRY(base->write(0, sectors_of_age(0, disk_sectors, from_parent)));
                 return create_vhd(path, 0, {.parent = folder / "base.vhd", .block_bytes = 16384});
               }},
        Format{"vmdk",
               {.format = "vmdk"},
               false,
               [](TestFolder const&, std::string const& path) -> Result<> {
                 return create_vmdk(path, disk_bytes);
               }},
        Format{"vhdx",
               {.format = "vhdx"},
               false,
               [](TestFolder const&, std::string const& path) -> Result<> {
                 return create_image({.path = path,
                                      .format = "vhdx",
                                      .bytes = disk_bytes,
                                      .options = {{"block_size", "1048576"}, {"log_size", "1048576"}}});
               }},
        Format{"qcow2",
               {.format = "qcow2"},
               false,
               [](TestFolder const&, std::string const& path) -> Result<> {
                 return create_qcow2(path, disk_bytes, {}, 12);
               }},
        Format{"qcow2 of subclusters",
               {.format = "qcow2"},
               false,
               [](TestFolder const&, std::string const& path) -> Result<> {
                 return create_qcow2_with({.cluster_bits = 14, .extended_l2 = true}, path, disk_bytes);
               }},
        Format{"qcow2 of subclusters over a raw disk",
               {.format = "qcow2", .follow_references = true},
               true,
               [](TestFolder const& folder, std::string const& path) -> Result<> {
                 write_flat(folder / "base", sectors_of_age(0, disk_sectors, from_parent));
                 return create_qcow2_with(
                     {.backing = {folder / "base", "raw"}, .cluster_bits = 15, .extended_l2 = true}, path,
                     disk_bytes);
               }}));

TEST_P(Trouble, PowerLossLeavesEachSectorOldOrNewAndWhatWasFlushed) {
  auto const folder = TestFolder{};
  auto const path = folder / "disk";
  auto random = std::mt19937_64{1};
  auto const created = GetParam().create(folder, path);
  ASSERT_TRUE(created) << created.error().what();
  auto file = Shadow(*host::File::open(path, {})->size());
  ASSERT_TRUE(host::File::open(path, {})->read(0, file));
  auto history = History{GetParam().child ? from_parent : 0};
  auto const events = [&] {
    auto const image = opened(path, GetParam().options);
    auto const recorder = Recorder{path};
    work(*image, recorder, history, random);
    return recorder.events;
  }();
  ASSERT_FALSE(HasFatalFailure());

  auto const attempts = attempts_for(events.size(), 5);
  auto const states = for_each_crash_state(
      file, events, folder / "crashed", attempts, random, [&](std::string const& crashed, std::size_t count) {
        auto const report = check_image(crashed, std::string{GetParam().options.format}, Repair::none);
        ASSERT_TRUE(report) << report.error().what();
        ASSERT_EQ(report->corruptions, 0u)
            << ::testing::PrintToString(report->findings) << " at event " << count;
        auto bytes = Shadow{};
        {
          auto const image = opened(crashed, GetParam().options);
          ASSERT_TRUE(image);
          bytes = ages(*image, history, count);
          auto const changed = random() % disk_sectors;  // life goes on
          ASSERT_TRUE(image->write(changed * sector, sectors_of_age(changed, 1, 99)));
          std::ranges::copy(sectors_of_age(changed, 1, 99), bytes.begin() + static_cast<i64>(changed * sector));
        }
        expect_same(*opened(crashed, GetParam().options), bytes);
      });
  EXPECT_GT(states, 200);
  RecordProperty("states", states);
}

TEST_P(Trouble, FlushWaitsForTablesThatAnotherThreadIsWriting) {
  auto const folder = TestFolder{};
  ASSERT_TRUE(GetParam().create(folder, folder / "disk"));
  auto const image = opened(folder / "disk", GetParam().options);
  ASSERT_TRUE(image->write(0, sectors_of_age(0, 1, 2)));
  Recorder::sync_is_lasting = false;
  Recorder::next_sync_lasts = true;
  auto first = std::async(std::launch::async, [&] { return image->flush(); });
  while (!Recorder::sync_is_lasting) std::this_thread::yield();
  auto second = std::async(std::launch::async, [&] { return image->flush(); });
  EXPECT_EQ(second.wait_for(std::chrono::milliseconds{200}), std::future_status::timeout);
  Recorder::next_sync_lasts = false;
  Recorder::next_sync_lasts.notify_all();
  EXPECT_TRUE(first.get());
  EXPECT_TRUE(second.get());
}

TEST_P(Trouble, FullDiskLeavesEachSectorOldOrNew) {
  for (auto writes = 3; writes < 60 && !HasFailure(); ++writes) {
    auto const folder = TestFolder{};
    auto random = std::mt19937_64{static_cast<u64>(writes)};
    ASSERT_TRUE(GetParam().create(folder, folder / "disk"));
    auto image = opened(folder / "disk", GetParam().options);
    auto now = Shadow(disk_bytes);
    ASSERT_TRUE(image->read(0, now));
    Recorder::writes_to_full_disk = writes;
    for (auto age = from_parent + 1; age < 90; ++age) {
      auto const first = random() % disk_sectors;
      auto const count = std::min(random() % 24 + 1, disk_sectors - first);
      auto const zero = random() % 4 == 0;
      auto const wanted = sectors_of_age(first, count, zero ? 0 : age);
      auto const outcome = zero ? image->write_zeroes(first * sector, wanted.size(), true)
                                : image->write(first * sector, wanted);
      auto const before = now;
      ASSERT_TRUE(image->read(0, now));
      for (auto number = u64{0}; number < disk_sectors; ++number) {
        auto const same_in = [&](Shadow const& other, u64 base) {
          return number >= base && (number - base + 1) * sector <= other.size() &&
                 std::memcmp(now.data() + number * sector, other.data() + (number - base) * sector, sector) ==
                     0;
        };
        auto const inside = number >= first && number < first + count;
        EXPECT_TRUE((inside && same_in(wanted, first)) || (!(inside && outcome) && same_in(before, 0)))
            << "sector " << number << " with " << writes << " writes left";
      }
      if (age % 5 == 0) static_cast<void>(image->flush());
    }
    EXPECT_LT(Recorder::writes_to_full_disk, 0);
    auto const flushed = image->flush();
    EXPECT_TRUE(flushed) << flushed.error().what();
    image.reset();
    expect_same(*opened(folder / "disk", GetParam().options), now);
  }
}

}  // namespace
}  // namespace vireo::image
