#include "image/polled/unflushed_writes.h"

#include <gtest/gtest.h>

namespace vireo::image::polled {
namespace {

std::vector<std::byte> filled(unsigned value) { return std::vector<std::byte>(512, std::byte(value)); }

std::vector<u64> replayed(UnflushedWrites const& writes) {
  auto places = std::vector<u64>{};
  auto const note = [&](u64 at, auto) -> Result<> {
    places.push_back(at);
    return {};
  };
  EXPECT_TRUE(writes.replay(note, note));
  return places;
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

TEST(UnflushedWrites, KeepZeroesInTheirPlace) {
  auto writes = UnflushedWrites{};
  writes.done(writes.add(0, filled(1)));
  writes.done(writes.add_zeroes(512, 1 << 30));
  writes.done(writes.add(1024, filled(1)));

  EXPECT_EQ(replayed(writes), (std::vector<u64>{0, 512, 1024}));
  EXPECT_EQ(writes.bytes(), 1024u);
}

TEST(UnflushedWrites, DropWhatFailed) {
  auto writes = UnflushedWrites{};

  writes.drop(writes.add(0, filled(1)));

  EXPECT_TRUE(replayed(writes).empty());
}

}  // namespace
}  // namespace vireo::image::polled
