#pragma once

#include <gtest/gtest.h>

#include <random>

#include "bus/device.h"
#include "bus/pci.h"

/// What every device owes the machine (bus/device.h), as tests that each device's own test file calls.
namespace vireo::bus::contract {

/// Writes and reads everything that a guest can reach, at every width, with values that a seed decides.
inline void hammer(Device& device, u32 seed, u32 rounds = 2000) {
  auto random = std::mt19937_64{seed};
  auto const width_of = [&](u32 limit) { return static_cast<u8>(1U << random() % limit); };
  for (auto i = u32{0}; i < rounds; ++i) {
    if (auto* const pio = device.pio(); pio != nullptr && !pio->ports().empty()) {
      auto const range = pio->ports()[random() % pio->ports().size()];
      auto const port = static_cast<u16>(range.first + random() % range.count);
      pio->write_port(port, width_of(3), static_cast<u32>(random()));
      pio->read_port(static_cast<u16>(range.first + random() % range.count), width_of(3));
    }
    if (auto* const mmio = device.mmio(); mmio != nullptr && !mmio->ranges().empty()) {
      auto const range = mmio->ranges()[random() % mmio->ranges().size()];
      mmio->write_mmio(range.start + random() % range.length, width_of(4), random());
      mmio->read_mmio(range.start + random() % range.length, width_of(4));
    }
    if (auto* const pci = device.pci(); pci != nullptr) {
      auto const offset = static_cast<u16>(random() % 0x1000);
      auto const width = width_of(3);
      pci->config().write(offset, width, static_cast<u32>(random()));
      pci->config_written(offset, width);
      for (auto bar = u8{0}; bar < 6; ++bar) {
        auto const spec = pci->config().bar(bar);
        if (spec.kind == BarKind::none) continue;
        pci->write_bar(bar, random() % spec.size, width_of(4), random());
        pci->read_bar(bar, random() % spec.size, width_of(4));
      }
    }
  }
}

/// `make()` yields a new, equal device each time; `disturb(device)` changes its state as a guest would.
template <typename Make, typename Disturb>
void expect_device_contract(Make make, Disturb disturb) {
  auto device = make();
  auto const pristine = device->save();
  device->start();
  disturb(*device);
  device->stop();
  device->stop();
  auto const saved = device->save();
  EXPECT_NE(saved, pristine) << "disturb() changed nothing";

  auto copy = make();
  auto const restored = copy->restore(saved);
  ASSERT_TRUE(restored) << restored.error().what();
  EXPECT_EQ(copy->save(), saved);
  copy->start();
  copy->stop();

  auto wrong_schema = saved;
  wrong_schema.schema += "x";
  EXPECT_FALSE(copy->restore(wrong_schema));
  EXPECT_EQ(copy->save(), pristine);
  auto unknown_field = saved;
  unknown_field.fields[0xFFFF'FFFF] = {};
  EXPECT_FALSE(copy->restore(unknown_field));
  for (auto const& [id, bytes] : saved.fields) {
    auto wrong_size = saved;
    wrong_size.fields[id].push_back({});
    EXPECT_FALSE(copy->restore(wrong_size)) << "field " << id;
    EXPECT_EQ(copy->save(), pristine);
  }

  device->reset();
  EXPECT_EQ(device->save(), pristine);

  for (auto seed = u32{1}; seed <= 4; ++seed) {
    device->start();
    hammer(*device, seed);
    device->stop();
    auto const reached = device->save();
    auto const again = copy->restore(reached);
    ASSERT_TRUE(again) << "a state that a guest reached was refused: " << again.error().what();
    EXPECT_EQ(copy->save(), reached);
  }
  device->reset();
  EXPECT_EQ(device->save(), pristine);
}

/// Forged state: `bytes` in `field` must be refused and leave a reset device.
inline void expect_refused(Device& device, u32 field, std::vector<std::byte> const& bytes) {
  device.reset();
  auto const pristine = device.save();
  auto forged = pristine;
  ASSERT_TRUE(forged.fields.contains(field));
  ASSERT_EQ(forged.fields[field].size(), bytes.size());
  forged.fields[field] = bytes;
  EXPECT_FALSE(device.restore(forged)) << "field " << field;
  EXPECT_EQ(device.save(), pristine);
}

template <typename T>
void expect_refused(Device& device, u32 field, T value) {
  auto const raw = std::as_bytes(std::span{&value, 1});
  expect_refused(device, field, std::vector<std::byte>{raw.begin(), raw.end()});
}

}  // namespace vireo::bus::contract
