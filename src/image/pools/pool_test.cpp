#include "image/pools/pool.h"

#include <fmt/format.h>
#include <gmock/gmock.h>

#include <atomic>
#include <thread>

#include "image/operations/snapshot.h"
#include "image/testing/random_disk.h"

namespace vireo::image {
namespace {

using namespace image::testing;  // NOLINT: the tests' own vocabulary
using ::testing::HasSubstr;

class DirectoryPools : public ::testing::Test {
 protected:
  std::unique_ptr<Pool> pool(PoolSpec spec = {}) const {
    spec.name = "fast";
    spec.location = folder_ / "pool";
    if (spec.capacity == 0) spec.capacity = 10 * GiB;
    auto opened = open_pool(spec);
    EXPECT_TRUE(opened) << opened.error().what();
    return std::move(*opened);
  }
  static Result<Volume> make(Pool& pool, std::string const& name, u64 bytes, std::string const& format = "") {
    return pool.create(name, bytes, format, Preallocation::off);
  }
  TestFolder folder_;
};

TEST_F(DirectoryPools, MakeVolumesOfEveryFormatThatQemuReads) {
  auto const place = pool({.promise_percent = 0});
  for (auto const* format : {"raw", "qcow2", "vmdk", "vhd", "vhdx", "vdi"}) {
    auto const made = make(*place, std::string{"a-"} + format, 64 * MiB, format);
    ASSERT_TRUE(made) << made.error().what();
    EXPECT_EQ(made->bytes, 64 * MiB);
    tool({"qemu-img", "info", made->path});
  }
  EXPECT_EQ(place->volumes()->size(), 6u);
  EXPECT_EQ(place->figures()->promised, 6 * 64 * MiB);
}

TEST_F(DirectoryPools, TellWhatIsPromisedUsedAndFree) {
  auto const place = pool({.capacity = 100 * MiB});
  auto const volume = make(*place, "disk", 50 * MiB);
  ASSERT_TRUE(volume);
  auto const before = *place->figures();
  EXPECT_EQ(before.promised, 50 * MiB);
  EXPECT_EQ(before.may_promise, 150 * MiB);
  EXPECT_LT(before.used, MiB);
  EXPECT_FALSE(before.alarm);
  ASSERT_TRUE(opened(volume->path)->write(0, Shadow(20 * MiB, std::byte{1})));
  auto const after = *place->figures();
  EXPECT_EQ(after.promised, 50 * MiB);
  EXPECT_GE(after.used, 20 * MiB);
  EXPECT_LE(after.free, 80 * MiB);
}

TEST_F(DirectoryPools, RaiseTheAlarmAtTheirThreshold) {
  auto const place = pool({.capacity = 20 * MiB, .alarm_percent = 50});
  auto const volume = make(*place, "disk", 20 * MiB, "raw");
  ASSERT_TRUE(opened(volume->path, {.format = "raw"})->write(0, Shadow(9 * MiB, std::byte{1})));
  EXPECT_FALSE(place->figures()->alarm);
  ASSERT_TRUE(opened(volume->path, {.format = "raw"})->write(9 * MiB, Shadow(2 * MiB, std::byte{1})));
  EXPECT_TRUE(place->figures()->alarm);
}

TEST_F(DirectoryPools, PromiseNoMoreThanTheyMay) {
  auto const place = pool({.capacity = 100 * MiB, .promise_percent = 150});
  ASSERT_TRUE(make(*place, "one", 100 * MiB));
  auto const refused = make(*place, "two", 51 * MiB);
  EXPECT_EQ(refused.error().code(), Errc::no_space);
  EXPECT_THAT(refused.error().what(), HasSubstr("150 percent"));
  ASSERT_TRUE(make(*place, "two", 50 * MiB));
  EXPECT_EQ(place->resize("two", 51 * MiB, false).error().code(), Errc::no_space);
  ASSERT_TRUE(place->resize("one", 60 * MiB, true));
  EXPECT_TRUE(place->resize("two", 90 * MiB, false));
}

TEST_F(DirectoryPools, KeepToTheirPromisesWhenManyMakeVolumesAtOnce) {
  auto const place = pool({.capacity = 100 * MiB, .promise_percent = 100});
  auto made = std::atomic<int>{0};
  {
    auto makers = std::vector<std::jthread>{};
    for (auto maker = 0; maker < 4; ++maker) {
      makers.emplace_back([&, maker] {
        auto const own = pool({.capacity = 100 * MiB, .promise_percent = 100});
        for (auto each = 0; each < 5; ++each)
          made += make(*own, fmt::format("v{}-{}", maker, each), 10 * MiB) ? 1 : 0;
      });
    }
  }
  EXPECT_EQ(made, 10);
  EXPECT_EQ(place->figures()->promised, 100 * MiB);
}

TEST_F(DirectoryPools, DeleteAVolumeWithAllThatIsItsOwn) {
  auto const place = pool();
  auto const volume = make(*place, "disk", 8 * MiB, "vmdk");
  ASSERT_TRUE(create_snapshot({.path = volume->path, .format = "vmdk"}, "before"));
  ASSERT_TRUE(host::File::open(snapshot_sidecar(volume->path), {}));
  ASSERT_TRUE(place->remove("disk"));
  EXPECT_FALSE(host::File::open(snapshot_sidecar(volume->path), {}));
  EXPECT_EQ(place->find("disk").error().code(), Errc::not_found);
}

TEST_F(DirectoryPools, DoNotDeleteWhatIsInUseOrBelowAnother) {
  auto const place = pool();
  for (auto const* format : {"qcow2", "vmdk", "vhd", "vhdx", "vdi"}) {
    auto const volume = make(*place, "disk", 8 * MiB, format);
    {
      auto const user = opened(volume->path);
      auto const refused = place->remove("disk");
      ASSERT_FALSE(refused) << format;
      EXPECT_EQ(refused.error().code(), Errc::busy);
    }
    ASSERT_TRUE(create_image({.path = folder_ / (std::string{"pool/top."} + format),
                              .format = format,
                              .backing = {.path = format == std::string{"vdi"} || format == std::string{"vhd"}
                                                      ? volume->path
                                                      : std::string{"disk."} + format,
                                          .format = format}}));
    auto const refused = place->remove("disk");
    ASSERT_FALSE(refused) << format;
    EXPECT_EQ(refused.error().code(), Errc::busy);
    EXPECT_THAT(refused.error().what(), HasSubstr("'top' lies over"));
    ASSERT_TRUE(place->remove("top")) << format;
    EXPECT_TRUE(place->remove("disk")) << format;
  }
}

TEST_F(DirectoryPools, HoldWhatLiesThereAndNoLinksOrExtents) {
  auto const place = pool();
  auto const at = [&](char const* name) { return folder_ / (std::string{"pool/"} + name); };
  tool({"qemu-img", "create", "-q", "-f", "vmdk", "-o", "subformat=twoGbMaxExtentSparse", at("split.vmdk"),
        "16M"});
  tool({"ln", "-s", "/etc/passwd", at("link.raw")});
  ASSERT_TRUE(host::write_text(at("notes.txt"), "x"));
  ASSERT_TRUE(host::write_text(at("broken.qcow2"), "no image"));
  auto const volumes = *place->volumes();
  ASSERT_EQ(volumes.size(), 2u);
  EXPECT_EQ(volumes[0].name, "broken");
  EXPECT_FALSE(volumes[0].fault.empty());
  EXPECT_EQ(volumes[1].name, "split");
  EXPECT_EQ(volumes[1].bytes, 16 * MiB);
  EXPECT_TRUE(place->remove("broken"));
}

TEST_F(DirectoryPools, RefuseNamesThatAreTakenOrLeadElsewhere) {
  auto const place = pool();
  ASSERT_TRUE(make(*place, "disk", MiB));
  EXPECT_EQ(make(*place, "disk", MiB, "raw").error().code(), Errc::busy);
  for (auto const* name : {"", "../x", "a/b", ".hidden", "Upper"})
    EXPECT_EQ(make(*place, name, MiB).error().code(), Errc::invalid) << name;
}

TEST(PoolSpecs, WithNonsenseAreRefused) {
  auto const good = PoolSpec{.name = "a", .location = "/nowhere"};
  EXPECT_TRUE(check_pool_spec(good));
  auto const check = [&](auto change) {
    auto spec = good;
    change(spec);
    return check_pool_spec(spec).error().code();
  };
  EXPECT_EQ(check([](PoolSpec& spec) { spec.kind = "tape"; }), Errc::invalid);
  EXPECT_EQ(check([](PoolSpec& spec) { spec.location = "relative"; }), Errc::invalid);
  EXPECT_EQ(check([](PoolSpec& spec) { spec.alarm_percent = 101; }), Errc::invalid);
  EXPECT_EQ(check([](PoolSpec& spec) { spec.format = "luks"; }), Errc::invalid);
  EXPECT_EQ(check([](PoolSpec& spec) { spec.kind = "rbd"; }), Errc::unsupported);
}

}  // namespace
}  // namespace vireo::image
