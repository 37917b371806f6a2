#include "image/http/block_cache.h"

#include <gtest/gtest.h>

#include <atomic>
#include <thread>

namespace vireo::image::http {
namespace {

std::vector<std::byte> content_of(u64 number) { return {static_cast<std::byte>(number)}; }

TEST(BlockCache, FetchesABlockOnceAndForgetsTheLeastUsed) {
  auto fetched = std::vector<u64>{};
  auto const fetch = [&](u64 number) -> Result<std::vector<std::byte>> {
    fetched.push_back(number);
    return content_of(number);
  };
  auto cache = BlockCache{2};
  for (auto const number : {1u, 2u, 1u, 3u, 1u, 2u}) {
    EXPECT_EQ(**cache.get(number, fetch), content_of(number));
  }
  EXPECT_EQ(fetched, (std::vector<u64>{1, 2, 3, 2}));
}

TEST(BlockCache, TriesAgainAfterAFailure) {
  auto cache = BlockCache{2};
  EXPECT_FALSE(cache.get(1, [](u64) -> Result<std::vector<std::byte>> { return fail(Errc::io, "away"); }));
  EXPECT_TRUE(cache.get(1, [](u64 number) -> Result<std::vector<std::byte>> { return content_of(number); }));
}

TEST(BlockCache, FetchesOnceForManyThreads) {
  auto cache = BlockCache{4};
  auto count = std::atomic<u32>{0};
  {
    auto threads = std::vector<std::jthread>{};
    for (auto each = 0; each < 8; ++each) {
      threads.emplace_back([&] {
        EXPECT_TRUE(cache.get(7, [&](u64 number) -> Result<std::vector<std::byte>> {
          ++count;
          return content_of(number);
        }));
      });
    }
  }
  EXPECT_EQ(count, 1u);
}

}  // namespace
}  // namespace vireo::image::http
