#include "bus/address_map.h"

#include <gtest/gtest.h>

#include <vector>

namespace vireo::bus {
namespace {

class Recorder : public PioTarget, public MmioTarget {
 public:
  explicit Recorder(u8 answer) : answer_{answer} {}
  std::span<PortRange const> ports() const override { return {}; }
  std::span<GpaRange const> ranges() const override { return {}; }
  u32 read_port(u16, u8 width) override { return 0x0101'0101U * answer_ >> (32 - 8 * width); }
  void write_port(u16 port, u8 width, u32 value) override { writes.push_back({port, width, value}); }
  u64 read_mmio(Gpa, u8 width) override { return 0x0101'0101'0101'0101U * answer_ >> (64 - 8 * width); }
  void write_mmio(Gpa at, u8 width, u64 value) override { writes.push_back({at.value, width, value}); }

  struct Write {
    u64 at;
    u8 width;
    u64 value;
    bool operator==(Write const&) const = default;
  };
  std::vector<Write> writes;

 private:
  u8 answer_;
};

TEST(AddressMap, UnclaimedReadsAreAllOnes) {
  auto map = AddressMap{};
  EXPECT_EQ(map.read_port(0x80, 1), 0xFFU);
  EXPECT_EQ(map.read_port(0xFFFE, 4), 0xFFFF'FFFFU);
  EXPECT_EQ(map.read_mmio(Gpa{0xFFFF'FFFF'FFFF'FFFC}, 8), ~u64{0});
  map.write_port(0xFFFF, 4, 1);
  map.write_mmio(Gpa{~u64{0}}, 8, 1);
}

TEST(AddressMap, AccessWithinOneTargetStaysWhole) {
  auto map = AddressMap{};
  auto target = Recorder{0x11};
  map.map_pio({0xCF8, 8}, target);
  map.write_port(0xCF8, 4, 0x8000'0000);
  EXPECT_EQ(target.writes, (std::vector<Recorder::Write>{{0xCF8, 4, 0x8000'0000}}));
  EXPECT_EQ(map.read_port(0xCFC, 2), 0x1111U);
}

TEST(AddressMap, AccessAcrossTargetsIsSplitIntoBytes) {
  auto map = AddressMap{};
  auto first = Recorder{0x11};
  auto second = Recorder{0x22};
  map.map_pio({0x60, 1}, first);
  map.map_pio({0x61, 1}, second);
  map.write_port(0x60, 4, 0x0403'0201);
  EXPECT_EQ(first.writes, (std::vector<Recorder::Write>{{0x60, 1, 1}}));
  EXPECT_EQ(second.writes, (std::vector<Recorder::Write>{{0x61, 1, 2}}));
  EXPECT_EQ(map.read_port(0x60, 4), 0xFFFF'2211U);
}

TEST(AddressMap, LaterMmioRangeLiesAboveEarlierUntilUnmapped) {
  auto map = AddressMap{};
  auto below = Recorder{0x11};
  auto above = Recorder{0x22};
  auto const window = GpaRange{Gpa{0x1000}, 0x100};
  map.map_mmio({Gpa{0}, 0x10000}, below);
  map.map_mmio(window, above);
  EXPECT_EQ(map.read_mmio(Gpa{0x1000}, 4), 0x2222'2222U);
  EXPECT_EQ(map.read_mmio(Gpa{0xFFC}, 8), 0x2222'2222'1111'1111U);
  map.unmap_mmio(window, above);
  EXPECT_EQ(map.read_mmio(Gpa{0x1000}, 8), 0x1111'1111'1111'1111U);
}

}  // namespace
}  // namespace vireo::bus
