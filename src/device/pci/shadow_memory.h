#pragma once

#include <array>

#include "bus/access.h"
#include "bus/memory_windows.h"
#include "bus/pci.h"

namespace vireo::device {

/// C0000 to FFFFF: RAM behind option ROMs and BIOS, opened in 13 segments by the host bridge's PAM registers
/// (Q35 data sheet, 5.1.17 to 5.1.23). Without firmware it is plain RAM and there are no such registers.
class ShadowMemory final : public bus::MmioTarget {
 public:
  static constexpr GpaRange range{Gpa{0xC'0000}, 0x4'0000};

  /// `firmware` is the ROM block below 4 GiB, whose end the segments show while they are closed.
  ShadowMemory(memory::GuestMemory& memory, bus::MemoryWindows& windows, GpaRange firmware);

  /// Adds the registers.
  static void add_registers(bus::PciConfigSpace& config);
  /// Takes over what the registers say.
  void update(bus::PciConfigSpace const& config);

  // Segments that read as ROM and let writes through to RAM.
  std::span<GpaRange const> ranges() const override { return {&range, 1}; }
  u64 read_mmio(Gpa at, u8 width) override;
  void write_mmio(Gpa at, u8 width, u64 value) override;

 private:
  enum Attribute : u8 { closed = 0, readable = 1, writable = 2, open = 3 };
  struct Segment {
    GpaRange range;
    Attribute attribute{closed};
  };
  static Attribute attribute_of(bus::PciConfigSpace const& config, std::size_t segment);
  std::byte* rom_at(Gpa at) const;  // null: no ROM there
  void show();

  memory::GuestMemory& memory_;
  bus::MemoryWindows& windows_;
  std::byte* ram_;  // of address C0000
  std::byte* rom_;  // of address E0000
  std::array<Segment, 13> segments_;
  bool shown_{};
};

}  // namespace vireo::device
