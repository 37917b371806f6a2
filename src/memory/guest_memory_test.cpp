#include "memory/guest_memory.h"

#include <gtest/gtest.h>

#include <array>

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

class Windows : public ::testing::Test {
 protected:
  Windows() {
    EXPECT_TRUE(memory.add({Gpa{0}, 0x8000}, RegionKind::ram));
    EXPECT_TRUE(memory.add({Gpa{0x10000}, 0x2000}, RegionKind::rom));
    EXPECT_TRUE(memory.load(Gpa{0x10000}, std::as_bytes(std::span{"rom"})));
    EXPECT_TRUE(memory.write(Gpa{0x2000}, std::as_bytes(std::span{"ram"})));
    rom = memory.host(Gpa{0x10000}, 0x2000, false);
    ram = memory.host(Gpa{0}, 0x8000, false);
  }
  char first(u64 at) { return memory.read_as<char>(Gpa{at}).value_or('-'); }

  GuestMemory memory;
  std::byte *rom{}, *ram{};
};

TEST_F(Windows, ShowOtherBytesInPlaceOfWhatLiesThere) {
  memory.set_windows(std::array{GuestMemory::Window{{Gpa{0x2000}, 0x2000}, rom, RegionKind::rom}});
  EXPECT_EQ(first(0x2000), 'r');
  EXPECT_EQ(memory.read_as<char>(Gpa{0x2001}).value(), 'o');
  EXPECT_FALSE(memory.write_as<char>(Gpa{0x2000}, 'x'));
  EXPECT_TRUE(memory.write_as<char>(Gpa{0x1fff}, 'x'));
  EXPECT_TRUE(memory.write_as<char>(Gpa{0x4000}, 'y'));
  EXPECT_EQ(first(0x10000), 'r');

  memory.set_windows({});
  EXPECT_EQ(memory.read_as<char>(Gpa{0x2001}).value(), 'a');
  EXPECT_EQ(memory.regions().size(), 2u);
}

TEST_F(Windows, LeaveARangeToTheDevices) {
  memory.set_windows(std::array{GuestMemory::Window{{Gpa{0x2000}, 0x1000}}});
  EXPECT_FALSE(memory.read_as<char>(Gpa{0x2000}));
  EXPECT_EQ(memory.host(Gpa{0x1000}, 0x2000, false), nullptr);
  EXPECT_EQ(memory.find(Gpa{0x3000})->host, ram + 0x3000);
  EXPECT_EQ(memory.ram_bytes(), 0x8000u);
}

TEST_F(Windows, LaterOnesLieAboveEarlierOnes) {
  memory.set_windows(std::array{GuestMemory::Window{{Gpa{0x1000}, 0x3000}},
                                GuestMemory::Window{{Gpa{0x2000}, 0x1000}, ram, RegionKind::ram}});
  EXPECT_FALSE(memory.find(Gpa{0x1000}));
  EXPECT_FALSE(memory.find(Gpa{0x3000}));
  ASSERT_TRUE(memory.write_as<char>(Gpa{0x2000}, 'z'));
  EXPECT_EQ(first(0), 'z');
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
