#include <gtest/gtest.h>

#include "image/nfs/nfs_address.h"

namespace vireo::image::nfs {
namespace {

TEST(NfsAddress, DividesFolderAndFile) {
  auto const address = parse_address("nfs://server/disks/guests/a%20b.qcow2?version=4&nfsport=22049&uid=1000");

  ASSERT_TRUE(address) << address.error().what();
  EXPECT_EQ(address->host, "server");
  EXPECT_EQ(address->folder, "/disks/guests");
  EXPECT_EQ(address->file, "a b.qcow2");
  EXPECT_EQ(address->version, 4u);
  EXPECT_EQ(address->nfs_port, 22049u);
  EXPECT_EQ(address->uid, 1000u);
  EXPECT_FALSE(address->gid);
}

TEST(NfsAddress, RefusesWhatNamesNoFile) {
  for (auto const* const text : {"nfs://server/disk.raw", "nfs:///disks/disk.raw", "nfs://server/disks/",
                                 "nfs://server/disks/..", "nfs://server/disks/a?version=2",
                                 "nfs://server/disks/a?nfsport=70000", "nfs://server/disks/a?size=1"}) {
    EXPECT_FALSE(parse_address(text)) << text;
  }
}

}  // namespace
}  // namespace vireo::image::nfs
