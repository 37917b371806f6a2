#include "image/jobs/live_disk.h"

#include "image/jobs/testing/guest.h"
#include "image/nbd/testing/memory_image.h"
#include "image/operations/create.h"

namespace vireo::image {
namespace {

using namespace image::testing;  // NOLINT: the tests' own vocabulary

class LiveDiskTest : public ::testing::Test {
 protected:
  std::shared_ptr<LiveDisk> make(std::string const& format) {
    EXPECT_TRUE(create_image({.path = path(), .format = format, .bytes = 3 * MiB}));
    auto disk = LiveDisk::open({.path = path(), .format = format, .cache = CacheMode::unsafe});
    EXPECT_TRUE(disk) << disk.error().what();
    return *disk;
  }
  std::string path() const { return folder_ / "disk"; }
  TestFolder folder_;
};

TEST_F(LiveDiskTest, GoesOnWhileItsImageIsClosedAndOpenedAnew) {
  auto const disk = make("qcow2");
  auto shadow = Shadow(3 * MiB);
  {
    auto guest = Guest{*disk, shadow};
    guest.slow = false;
    for (auto round = 0; round < 20; ++round) {
      auto const done = disk->exclusively(
          [](LiveDisk::Inside& inside) { return inside.closed([](OpenDisk&) -> Result<> { return {}; }); });
      ASSERT_TRUE(done) << done.error().what();
    }
  }
  expect_same(*disk, shadow);
}

TEST_F(LiveDiskTest, StandsStillWhileSomebodyIsInsideAlone) {
  auto const disk = make("raw");
  auto shadow = Shadow(3 * MiB);
  auto guest = Guest{*disk, shadow};
  guest.slow = false;
  for (auto round = 0; round < 50; ++round) {
    disk->exclusively([&](LiveDisk::Inside& inside) {
      auto before = Shadow(3 * MiB);
      auto after = Shadow(3 * MiB);
      ASSERT_TRUE(inside.image()->read(0, before));
      std::this_thread::yield();
      ASSERT_TRUE(inside.image()->read(0, after));
      ASSERT_TRUE(before == after);
    });
  }
}

TEST_F(LiveDiskTest, KeepsItsLockWhileItsImageIsClosed) {
  auto const disk = make("qcow2");
  disk->exclusively([&](LiveDisk::Inside& inside) {
    auto const done = inside.closed([&](OpenDisk&) -> Result<> {
      auto const other = open_image(path(), {.format = "qcow2"});
      EXPECT_EQ(other.error().code(), Errc::busy);
      return {};
    });
    EXPECT_TRUE(done);
  });
}

TEST_F(LiveDiskTest, IsAsBeforeWhenAChangeOfItsChainFails) {
  auto const disk = make("vdi");
  ASSERT_TRUE(disk->write(0, Shadow(512, std::byte{7})));
  auto const failed = disk->exclusively([](LiveDisk::Inside& inside) {
    return inside.closed([](OpenDisk&) -> Result<> { return fail(Errc::io, "on purpose"); });
  });
  EXPECT_EQ(failed.error().what(), "on purpose");
  auto bytes = Shadow(512);
  ASSERT_TRUE(disk->read(0, bytes));
  EXPECT_EQ(bytes, Shadow(512, std::byte{7}));
}

TEST_F(LiveDiskTest, RefusesRangesOutsideOfWhatTheGuestKnows) {
  auto const disk = make("raw");
  EXPECT_EQ(disk->write(3 * MiB, Shadow(512)).error().code(), Errc::invalid);
  EXPECT_EQ(disk->discard(0, 4 * MiB).error().code(), Errc::invalid);
  EXPECT_EQ(disk->extent_at(3 * MiB).error().code(), Errc::invalid);
}

}  // namespace
}  // namespace vireo::image
