#include <gtest/gtest.h>

#include "image/nfs/nfs_address.h"
#include "image/nfs/unflushed_writes.h"

namespace vireo::image::nfs {
namespace {

std::vector<std::byte> filled(unsigned value) { return std::vector<std::byte>(512, std::byte(value)); }

std::vector<u64> replayed(UnflushedWrites const& writes) {
  auto places = std::vector<u64>{};
  EXPECT_TRUE(writes.replay([&](u64 at, ConstBytes) -> Result<> {
    places.push_back(at);
    return {};
  }));
  return places;
}

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

TEST(UnflushedWrites, AreWrittenAgainInTheirOrderUntilCommitted) {
  auto writes = UnflushedWrites{};
  for (auto const at : {u64{1024}, u64{0}, u64{1024}}) writes.done(writes.add(at, filled(1)));
  EXPECT_EQ(replayed(writes), (std::vector<u64>{1024, 0, 1024}));

  writes.forget(writes.finished());

  EXPECT_TRUE(replayed(writes).empty());
  EXPECT_EQ(writes.bytes(), 0u);
}

TEST(UnflushedWrites, StayWhenTheyEndAfterTheCommitBegan) {
  auto writes = UnflushedWrites{};
  auto const under_way = writes.add(4096, filled(1));
  auto const covered = writes.finished();
  writes.done(under_way);

  writes.forget(covered);

  EXPECT_EQ(replayed(writes), (std::vector<u64>{4096}));
}

TEST(UnflushedWrites, DropWhatFailed) {
  auto writes = UnflushedWrites{};

  writes.drop(writes.add(0, filled(1)));

  EXPECT_TRUE(replayed(writes).empty());
}

}  // namespace
}  // namespace vireo::image::nfs
