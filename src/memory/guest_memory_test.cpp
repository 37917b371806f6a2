#include "memory/guest_memory.h"

#include <gtest/gtest.h>

namespace vireo::memory {
namespace {

TEST(GuestMemory, ReadsBackWhatWasWrittenAcrossAdjacentRegions) {
  auto memory = GuestMemory{};
  ASSERT_TRUE(memory.add({Gpa{0}, 0x1000}, RegionKind::ram));
  ASSERT_TRUE(memory.add({Gpa{0x1000}, 0x1000}, RegionKind::ram));

  ASSERT_TRUE(memory.write_as<u64>(Gpa{0xffc}, 0x1122334455667788));

  EXPECT_EQ(memory.read_as<u64>(Gpa{0xffc}).value(), 0x1122334455667788);
  EXPECT_EQ(memory.host(Gpa{0xffc}, 8, false), nullptr);
}

TEST(GuestMemory, WritesNothingWhenARangeLeavesMemory) {
  auto memory = GuestMemory{};
  ASSERT_TRUE(memory.add({Gpa{0}, 0x1000}, RegionKind::ram));

  auto const result = memory.write_as<u64>(Gpa{0xffc}, ~u64{0});

  ASSERT_FALSE(result);
  EXPECT_EQ(result.error().code(), Errc::invalid);
  EXPECT_EQ(memory.read_as<u32>(Gpa{0xffc}).value(), 0u);
}

TEST(GuestMemory, RefusesOverlapsAndPartPages) {
  auto memory = GuestMemory{};
  ASSERT_TRUE(memory.add({Gpa{0x1000}, 0x2000}, RegionKind::ram));

  EXPECT_FALSE(memory.add({Gpa{0x2000}, 0x1000}, RegionKind::ram));
  EXPECT_FALSE(memory.add({Gpa{0x4000}, 0x10}, RegionKind::ram));
}

TEST(GuestMemory, RomIsReadOnlyForDevicesAndWritableForLoaders) {
  auto memory = GuestMemory{};
  ASSERT_TRUE(memory.add({Gpa{0}, 0x1000}, RegionKind::rom));
  auto const byte = std::byte{0x5a};

  EXPECT_FALSE(memory.write(Gpa{0}, {&byte, 1}));
  EXPECT_TRUE(memory.load(Gpa{0}, {&byte, 1}));
  EXPECT_EQ(memory.host(Gpa{0}, 1, true), nullptr);
  EXPECT_EQ(memory.read_as<u8>(Gpa{0}).value(), 0x5a);
}

TEST(GuestMemory, TellsTheObserverOfWritesAfterTheyAreMade) {
  struct Observer final : WriteObserver {
    explicit Observer(GuestMemory& to) : memory{to} { memory.set_write_observer(this); }
    ~Observer() override { memory.set_write_observer(nullptr); }
    void written(Gpa at, u64 length) override {
      heard.push_back({at, length});
      values.push_back(memory.read_as<u8>(at).value());
    }
    GuestMemory& memory;
    std::vector<GpaRange> heard;
    std::vector<u8> values;
  };
  auto memory = GuestMemory{};
  ASSERT_TRUE(memory.add({Gpa{0}, 0x2000}, RegionKind::ram));
  auto const observer = std::make_unique<Observer>(memory);

  ASSERT_TRUE(memory.write_as<u32>(Gpa{0xffe}, 0x05050505));
  ASSERT_TRUE(memory.load(Gpa{0x10}, std::as_bytes(std::span{"abc", 3})));
  memory.note_written(Gpa{0x1000}, 0x20);
  EXPECT_FALSE(memory.write_as<u32>(Gpa{0x1ffe}, 1));

  EXPECT_EQ(observer->heard, (std::vector<GpaRange>{{Gpa{0xffe}, 4}, {Gpa{0x10}, 3}, {Gpa{0x1000}, 0x20}}));
  EXPECT_EQ(observer->values, (std::vector<u8>{5, 'a', 5}));
}

}  // namespace
}  // namespace vireo::memory
