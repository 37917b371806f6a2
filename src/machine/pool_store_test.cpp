#include "machine/pool_store.h"

#include <gmock/gmock.h>

#include "host/file.h"
#include "host/test_folder.h"

namespace vireo::machine {
namespace {

using ::testing::HasSubstr;

class Pools : public ::testing::Test {
 protected:
  image::PoolSpec spec(std::string const& name) const { return {.name = name, .location = folder_ / name}; }
  host::TestFolder folder_;
  PoolStore store_{folder_ / "pools"};
};

TEST_F(Pools, AreKeptAsTheyWereDescribed) {
  auto wanted = spec("fast");
  wanted.capacity = u64{5} << 30;
  wanted.alarm_percent = 70;
  wanted.promise_percent = 300;
  wanted.format = "vhdx";
  ASSERT_TRUE(store_.add(wanted));
  auto const found = store_.find("fast");
  ASSERT_TRUE(found) << found.error().what();
  EXPECT_EQ(found->capacity, wanted.capacity);
  EXPECT_EQ(found->alarm_percent, 70u);
  EXPECT_EQ(found->promise_percent, 300u);
  EXPECT_EQ(found->format, "vhdx");
  EXPECT_EQ(store_.add(wanted).error().code(), Errc::busy);
  EXPECT_EQ(store_.list()->size(), 1u);
  EXPECT_THAT(store_.find("fats").error().what(), HasSubstr("did you mean 'fast'"));
}

TEST_F(Pools, WithVolumesAreForgottenOnlyByForce) {
  ASSERT_TRUE(store_.add(spec("fast")));
  auto const pool = *image::open_pool(*store_.find("fast"));
  ASSERT_TRUE(pool->create("disk", 1 << 20, "", image::Preallocation::off));
  EXPECT_EQ(store_.remove("fast", false).error().code(), Errc::busy);
  ASSERT_TRUE(store_.remove("fast", true));
  EXPECT_EQ(pool->volumes()->size(), 1u);
  EXPECT_EQ(store_.find("fast").error().code(), Errc::not_found);
}

TEST_F(Pools, WithUnknownKeysAreRefusedByLine) {
  ASSERT_TRUE(host::make_folders(folder_ / "pools"));
  ASSERT_TRUE(host::write_text(folder_ / "pools/bad.yaml",
                               "apiVersion: vireo/v1\nkind: Pool\nname: bad\nspec:\n  locaton: /x\n"));
  EXPECT_THAT(store_.find("bad").error().what(),
              HasSubstr("line 5: locaton: unknown key; did you mean 'location'"));
}

TEST_F(Pools, GiveDisksTheirFiles) {
  ASSERT_TRUE(store_.add(spec("fast")));
  ASSERT_TRUE(
      (*image::open_pool(*store_.find("fast")))->create("disk", 1 << 20, "vdi", image::Preallocation::off));
  auto disk = DiskConfig{.path = "fast:disk"};
  ASSERT_TRUE(resolve_volume(disk, store_));
  EXPECT_EQ(disk.path, folder_ / "fast/disk.vdi");
  EXPECT_EQ(disk.format, "vdi");
  auto other = DiskConfig{.path = "fast:dick"};
  EXPECT_THAT(resolve_volume(other, store_).error().what(), HasSubstr("did you mean 'disk'"));
  auto nowhere = DiskConfig{.path = "slow:disk"};
  EXPECT_EQ(resolve_volume(nowhere, store_).error().code(), Errc::not_found);
  for (auto const* path : {"disk.qcow2", "nbd://host:1/x", "/a:b", "rbd:pool/image"}) {
    auto plain = DiskConfig{.path = path};
    ASSERT_TRUE(resolve_volume(plain, store_)) << path;
    EXPECT_EQ(plain.path, path);
  }
}

}  // namespace
}  // namespace vireo::machine
