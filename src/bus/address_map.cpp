#include "bus/address_map.h"

#include <algorithm>

namespace vireo::bus {

void AddressMap::map_pio(PortRange range, PioTarget& target) {
  for (auto i = u32{0}; i < range.count && range.first + i < ports_.size(); ++i)
    ports_[range.first + i] = &target;
}

void AddressMap::unmap_pio(PortRange range) {
  for (auto i = u32{0}; i < range.count && range.first + i < ports_.size(); ++i)
    ports_[range.first + i] = nullptr;
}

void AddressMap::map_mmio(GpaRange range, MmioTarget& target) { mmio_.push_back({range, &target}); }

void AddressMap::unmap_mmio(GpaRange range, MmioTarget& target) {
  auto const found = std::find_if(mmio_.begin(), mmio_.end(), [&](MmioEntry const& entry) {
    return entry.range == range && entry.target == &target;
  });
  if (found != mmio_.end()) mmio_.erase(found);
}

PioTarget* AddressMap::port_target(u16 port) const { return ports_[port]; }

MmioTarget* AddressMap::mmio_target(Gpa at) const {
  auto const found = std::find_if(mmio_.rbegin(), mmio_.rend(),
                                  [&](MmioEntry const& entry) { return entry.range.contains(at); });
  return found == mmio_.rend() ? nullptr : found->target;
}

u32 AddressMap::read_port(u16 port, u8 width) {
  auto* const target = port_target(port);
  auto whole = true;
  for (auto i = u32{1}; i < width; ++i) whole &= port + i < ports_.size() && ports_[port + i] == target;
  if (whole) return target != nullptr ? target->read_port(port, width) : 0xFFFF'FFFFU >> (32 - 8 * width);
  auto value = u32{0};
  for (auto i = u32{0}; i < width; ++i) {
    auto const byte = port + i < ports_.size() ? read_port(static_cast<u16>(port + i), 1) : 0xFF;
    value |= (byte & 0xFF) << (8 * i);
  }
  return value;
}

void AddressMap::write_port(u16 port, u8 width, u32 value) {
  auto* const target = port_target(port);
  auto whole = true;
  for (auto i = u32{1}; i < width; ++i) whole &= port + i < ports_.size() && ports_[port + i] == target;
  if (whole) {
    if (target != nullptr) target->write_port(port, width, value);
    return;
  }
  for (auto i = u32{0}; i < width && port + i < ports_.size(); ++i) {
    write_port(static_cast<u16>(port + i), 1, (value >> (8 * i)) & 0xFF);
  }
}

u64 AddressMap::read_mmio(Gpa at, u8 width) {
  auto* const target = mmio_target(at);
  if (width == 1 || mmio_target(at + (width - 1U)) == target) {
    return target != nullptr ? target->read_mmio(at, width) : ~u64{0} >> (64 - 8 * width);
  }
  auto value = u64{0};
  for (auto i = u32{0}; i < width; ++i) value |= (read_mmio(at + i, 1) & 0xFF) << (8 * i);
  return value;
}

void AddressMap::write_mmio(Gpa at, u8 width, u64 value) {
  auto* const target = mmio_target(at);
  if (width == 1 || mmio_target(at + (width - 1U)) == target) {
    if (target != nullptr) target->write_mmio(at, width, value);
    return;
  }
  for (auto i = u32{0}; i < width; ++i) write_mmio(at + i, 1, (value >> (8 * i)) & 0xFF);
}

}  // namespace vireo::bus
