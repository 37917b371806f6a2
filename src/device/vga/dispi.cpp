#include <algorithm>

#include "device/vga/vga.h"

// The Bochs display interface: modes by width, height and depth.
namespace vireo::device {

using namespace vga_spec;

namespace {

bool is_depth(u16 bits) {
  return bits == 4 || bits == 8 || bits == 15 || bits == 16 || bits == 24 || bits == 32;
}

}  // namespace

u16 Vga::read_dispi() const {
  auto const index = state_.dispi_index;
  if (index == DispiId) return dispi_version;
  if (index == DispiMemory64K) return static_cast<u16>(memory_.size() / (64 * KiB));
  if (index >= dispi_count) return 0;
  if ((state_.dispi[DispiEnable] & GetCapabilities) == 0) return state_.dispi[index];
  switch (index) {
    case DispiXres: return dispi_most_width;
    case DispiYres: return dispi_most_height;
    case DispiBpp: return 32;
    default: return state_.dispi[index];
  }
}

void Vga::write_dispi(u16 value) {
  auto const index = state_.dispi_index;
  auto& registers = state_.dispi;
  switch (index) {
    case DispiXres: registers[index] = std::min<u16>(value & ~7, dispi_most_width); break;
    case DispiYres: registers[index] = std::min(value, dispi_most_height); break;
    case DispiBpp:
      if (is_depth(value)) registers[index] = value;
      break;
    case DispiEnable: return enable_dispi(value);
    case DispiBank: registers[index] = static_cast<u16>(value % (memory_.size() / (64 * KiB))); break;
    case DispiVirtualWidth:
    case DispiXOffset:
    case DispiYOffset: registers[index] = value; break;
    default: break;
  }
}

void Vga::enable_dispi(u16 value) {
  auto const was_on = dispi_on();
  auto& registers = state_.dispi;
  registers[DispiEnable] = value;
  if (!dispi_on() || was_on) return;
  registers[DispiVirtualWidth] = registers[DispiXres];
  registers[DispiXOffset] = registers[DispiYOffset] = registers[DispiBank] = 0;
  auto const stride = std::max<u64>(dispi_stride(), 1);
  registers[DispiVirtualHeight] = static_cast<u16>(std::min<u64>(memory_.size() / stride, 0xFFFF));
  if ((value & NoClear) != 0) return;
  auto const shown = std::min<u64>(stride * registers[DispiYres], memory_.size());
  std::fill_n(memory_.begin(), shown, std::byte{0});
}

/// Bytes from one line to the next.
u32 Vga::dispi_stride() const {
  auto const width = std::max(state_.dispi[DispiVirtualWidth], state_.dispi[DispiXres]);
  auto const bits = state_.dispi[DispiBpp];
  return u32{width} * (bits == 15 ? 16U : bits) / 8;
}

}  // namespace vireo::device
