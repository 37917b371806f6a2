#include "net/cable/cable.h"

#include <gtest/gtest.h>

#include <vector>

namespace vireo::net {
namespace {

std::vector<std::byte> frame(u8 mark) { return std::vector<std::byte>(60, std::byte{mark}); }

TEST(Cable, CarriesFramesBothWays) {
  auto [left, right] = make_cable();
  auto seen = std::vector<std::byte>{};
  auto const keep = [&](ConstBytes bytes) {
    seen.push_back(bytes[0]);
    return true;
  };
  left->set_receiver(keep);
  right->set_receiver(keep);
  left->send(frame(1));
  right->send(frame(2));
  EXPECT_EQ(seen, (std::vector{std::byte{1}, std::byte{2}}));
}

TEST(Cable, HoldsFramesInOrderUntilThereIsRoom) {
  auto [left, right] = make_cable();
  auto room = 1;
  auto seen = std::vector<std::byte>{};
  right->set_receiver([&](ConstBytes bytes) {
    if (room == 0) return false;
    --room;
    seen.push_back(bytes[0]);
    return true;
  });
  for (auto mark = u8{1}; mark <= 3; ++mark) left->send(frame(mark));
  EXPECT_EQ(seen.size(), 1U);
  room = 5;
  right->resume();
  EXPECT_EQ(seen, (std::vector{std::byte{1}, std::byte{2}, std::byte{3}}));
}

TEST(Cable, DropsWhatIsNoFrame) {
  auto [left, right] = make_cable();
  auto count = 0;
  right->set_receiver([&](ConstBytes) { return ++count > 0; });
  left->send(std::vector<std::byte>(13));
  left->send(std::vector<std::byte>(65551));
  EXPECT_EQ(count, 0);
}

}  // namespace
}  // namespace vireo::net
