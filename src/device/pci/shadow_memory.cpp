#include "device/pci/shadow_memory.h"

#include <cstring>
#include <utility>

#include "device/pci/spec.h"

namespace vireo::device {

using namespace host_bridge_spec;

namespace {

constexpr GpaRange bios_segment{Gpa{0xF'0000}, 0x1'0000};  // governed by PAM0 alone
constexpr Gpa low_rom{0xE'0000};
constexpr u64 low_rom_bytes{0x2'0000};
constexpr u64 segment_bytes{0x4000};

}  // namespace

ShadowMemory::ShadowMemory(memory::GuestMemory& memory, bus::MemoryWindows& windows, GpaRange firmware)
    : memory_{memory},
      windows_{windows},
      ram_{memory.host(range.start, range.length, false)},
      rom_{memory.host(firmware.end() - low_rom_bytes, low_rom_bytes, false)} {
  for (auto i = std::size_t{0}; i + 1 < segments_.size(); ++i) {
    segments_[i].range = {range.start + i * segment_bytes, segment_bytes};
  }
  segments_.back().range = bios_segment;
}

void ShadowMemory::add_registers(bus::PciConfigSpace& config) {
  config.make_writable(PAM0, 0x30, 1);
  for (auto pam = u16{PAM0 + 1}; pam <= PAM6; ++pam) config.make_writable(pam, 0x33, 1);
}

/// PAM0 has the BIOS segment in its upper half; PAM1 to PAM6 two segments each, the lower one in the lower
/// half.
ShadowMemory::Attribute ShadowMemory::attribute_of(bus::PciConfigSpace const& config, std::size_t segment) {
  auto const bios = segment == 12;
  auto const pam = bios ? u16{PAM0} : static_cast<u16>(PAM0 + 1 + segment / 2);
  auto const upper = bios || segment % 2 != 0;
  return static_cast<Attribute>(config.read(pam, 1) >> (upper ? 4 : 0) & 3);
}

void ShadowMemory::update(bus::PciConfigSpace const& config) {
  auto changed = std::vector<GpaRange>{};  // what was written past the vCPUs' sight
  auto any = !std::exchange(shown_, true);
  for (auto i = std::size_t{0}; i < segments_.size(); ++i) {
    auto const attribute = attribute_of(config, i);
    if (attribute == segments_[i].attribute) continue;
    if (segments_[i].attribute == writable) changed.push_back(segments_[i].range);
    segments_[i].attribute = attribute;
    any = true;
  }
  if (!any) return;
  show();
  for (auto const& each : changed) memory_.note_written(each.start, each.length);
}

std::byte* ShadowMemory::rom_at(Gpa at) const { return at >= low_rom ? rom_ + (at - low_rom) : nullptr; }

void ShadowMemory::show() {
  auto windows = std::vector<memory::GuestMemory::Window>{};
  for (auto const& [segment, attribute] : segments_) {
    auto* const ram = ram_ + (segment.start - range.start);
    if (attribute == readable) windows.push_back({segment, ram, memory::RegionKind::rom});
    if (attribute == closed) windows.push_back({segment, rom_at(segment.start), memory::RegionKind::rom});
    if (attribute == writable) windows.push_back({segment});
  }
  windows_.set(bus::WindowLayer::shadow, std::move(windows));
}

u64 ShadowMemory::read_mmio(Gpa at, u8 width) {
  auto value = ~u64{0};
  // SOUND: `at` lies in our range and the bus splits accesses at its end; a ROM reaches up to there.
  if (auto const* const rom = rom_at(at); rom != nullptr && range.contains(at, width))
    std::memcpy(&value, rom, width);
  return value;
}

void ShadowMemory::write_mmio(Gpa at, u8 width, u64 value) {
  for (auto const& [segment, attribute] : segments_) {
    if (!segment.contains(at, width) || attribute != writable) continue;
    std::memcpy(ram_ + (at - range.start), &value, width);
  }
}

}  // namespace vireo::device
