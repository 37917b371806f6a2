#include <gtest/gtest.h>

#include "image/backend.h"
#include "image/rbd/rbd_address.h"

namespace vireo::image::rbd {
namespace {

TEST(RbdAddress, TakesPoolImageSnapshotAndOptions) {
  auto const address = parse_address("rbd:disks/server@monday:id=admin:conf=/etc/a\\:b.conf:mon_host=h\\:3300");

  ASSERT_TRUE(address) << address.error().what();
  EXPECT_EQ(address->pool, "disks");
  EXPECT_EQ(address->image, "server");
  EXPECT_EQ(address->snapshot, "monday");
  EXPECT_EQ(address->id, "admin");
  EXPECT_EQ(address->conf, "/etc/a:b.conf");
  ASSERT_EQ(address->options.size(), 1u);
  EXPECT_EQ(address->options.front().second, "h:3300");
}

TEST(RbdAddress, RefusesWhatNamesNoImage) {
  for (auto const* const text : {"rbd:", "rbd:disks", "rbd:disks/", "rbd:/server", "rbd:a/b:c", "rbd:a/b:=c"}) {
    EXPECT_FALSE(parse_address(text)) << text;
  }
}

TEST(RbdAddress, IsNoFilesName) {
  EXPECT_TRUE(is_url("rbd:disks/server"));
  EXPECT_TRUE(holds_files("rbd:disks/server"));
  EXPECT_FALSE(is_url("rbdisks/server"));
}

}  // namespace
}  // namespace vireo::image::rbd
