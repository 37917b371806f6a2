#include "device/chipset/chipset.h"

#include "bus/device_contract.h"
#include "bus/manual_executor.h"
#include "device/chipset/line_probe.h"

namespace vireo::device {
namespace {

struct Board {
  bus::ManualExecutor executor;
  bus::AddressMap map;
  MsiProbe msi;
  ControlProbe control;
  LineProbe intr;
  Chipset chipset{
      {.low_memory = GiB, .high_memory = 0, .wall_clock_ns = [] { return u64{1'800'000'000'000'000'000}; }},
      {executor, map, msi, control, intr}};
  std::vector<state::Saved> save() {
    auto all = std::vector<state::Saved>{};
    for (auto const& [name, device] : chipset.devices()) all.push_back(device->save());
    return all;
  }
};

TEST(Chipset, TimerInterruptArrivesAtThePic) {
  auto board = Board{};
  for (auto const& [name, device] : board.chipset.devices()) device->start();
  for (auto const [port, value] : {std::array<u16, 2>{0x20, 0x11}, {0x21, 0x20}, {0x21, 4}, {0x21, 1}}) {
    board.map.write_port(port, 1, value);
  }
  board.map.write_port(0x43, 1, 0x34);
  board.map.write_port(0x40, 1, 0);
  board.map.write_port(0x40, 1, 0x10);
  EXPECT_EQ(board.chipset.pic().acknowledge(), 0x20);
}

TEST(Chipset, SerialPortInterruptsThroughTheIoapic) {
  auto board = Board{};
  board.map.write_mmio(bus::address_plan::ioapic.start, 4, 0x10 + 2 * 4);
  board.map.write_mmio(bus::address_plan::ioapic.start + 0x10, 4, 0x34);
  board.map.write_port(0x3F9, 1, 2);
  EXPECT_EQ(board.msi.messages, (std::vector<MsiProbe::Message>{{0xFEE0'0000, 0x34}}));
}

TEST(Chipset, ResetMakesAUsedBoardLikeANewOne) {
  auto used = Board{};
  for (auto const& [name, device] : used.chipset.devices()) {
    device->start();
    bus::contract::hammer(*device, 7, 500);
  }
  used.executor.advance(1'000'000);
  for (auto const& [name, device] : used.chipset.devices()) device->stop();
  for (auto const& [name, device] : used.chipset.devices()) device->reset();
  auto fresh = Board{};
  fresh.executor.advance(1'000'000);
  for (auto const& [name, device] : fresh.chipset.devices()) device->reset();
  EXPECT_EQ(used.save(), fresh.save());
}

TEST(Chipset, RestoredBoardEqualsTheSavedOne) {
  auto used = Board{};
  for (auto const& [name, device] : used.chipset.devices()) {
    device->start();
    bus::contract::hammer(*device, 9, 500);
  }
  for (auto const& [name, device] : used.chipset.devices()) device->stop();
  auto const saved = used.save();
  auto copy = Board{};
  auto next = saved.begin();
  for (auto const& [name, device] : copy.chipset.devices()) ASSERT_TRUE(device->restore(*next++)) << name;
  EXPECT_EQ(copy.save(), saved);
}

}  // namespace
}  // namespace vireo::device
