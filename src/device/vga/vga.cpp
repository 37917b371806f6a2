#include "device/vga/vga.h"

#include <algorithm>
#include <cstring>

#include "bus/nested_state.h"

namespace vireo::device {

using namespace vga_spec;

namespace {

constexpr u32 saved_config_base{0x1000};
constexpr u64 frame_ns{16'683'333};  // 59.94 Hz
constexpr u64 line_ns{31'778};
constexpr u64 retrace_ns{64'000};
constexpr u64 blank_line_ns{6'000};

/// Registers of unused indices read as zero.
template <std::size_t size>
u8 at(std::array<u8, size> const& registers, u8 index) {
  return index < size ? registers[index] : u8{0};
}
template <std::size_t size>
void set(std::array<u8, size>& registers, u8 index, u8 value) {
  if (index < size) registers[index] = value;
}

}  // namespace

Vga::Vga(bus::Executor& executor, Bytes video_memory, VgaStart start)
    : executor_{executor},
      memory_{video_memory},
      start_{start},
      config_{{.vendor = pci_vendor, .device = pci_device, .revision = 2, .class_code = class_vga}} {
  config_.add_bar(FrameBuffer, {bus::BarKind::memory32, memory_bytes});
  config_.add_bar(Registers, {bus::BarKind::memory32, registers_bytes});
  reset();
}

void Vga::reset() {
  state_ = {};
  config_.reset();
  if (start_ == VgaStart::text_mode) begin_in_text_mode();
}

state::Saved Vga::save() const {
  auto saved = state::save(state_);
  bus::nest(saved, saved_config_base, config_.save());
  return saved;
}

Result<> Vga::restore(state::Saved const& saved) {
  reset();
  auto own = saved;
  auto const config = bus::unnest(own, saved_config_base);
  auto state = State{};
  TRY(state::restore(own, state));
  if (state.dac_part > 2 || state.dispi[DispiXres] > dispi_most_width ||
      state.dispi[DispiYres] > dispi_most_height) {
    return fail(Errc::corrupt, "vga: a field is out of range");
  }
  TRY(config_.restore(config));
  state_ = state;
  return {};
}

std::span<bus::PortRange const> Vga::ports() const {
  static constexpr auto ranges = std::array<bus::PortRange, 4>{
      {{CrtcIndexMono, 2}, {Status1Mono, 1}, {AttributeWrite, 32}, {DispiIndex, 2}}};
  return ranges;
}

u32 Vga::read_port(u16 port, u8 width) {
  if (port == DispiIndex) return state_.dispi_index;
  if (port == DispiData) return read_dispi();
  auto value = u32{0};
  for (auto i = u8{0}; i < width; ++i) value |= u32{read_register(static_cast<u16>(port + i))} << (8 * i);
  return value;
}

void Vga::write_port(u16 port, u8 width, u32 value) {
  if (port == DispiIndex) {
    state_.dispi_index = static_cast<u16>(value);
    return;
  }
  if (port == DispiData) return write_dispi(static_cast<u16>(value));
  for (auto i = u8{0}; i < width; ++i)
    write_register(static_cast<u16>(port + i), static_cast<u8>(value >> (8 * i)));
}

u8 Vga::read_register(u16 port) {
  auto const absent = is_colour() ? port < AttributeWrite : port >= CrtcIndex;
  if (absent) return 0xFF;
  switch (port) {
    case AttributeWrite: return state_.attribute_data ? u8{0} : state_.attribute_index;
    case AttributeRead: return at(state_.attribute, state_.attribute_index & 0x1F);
    case MiscWrite: return 0;  // no interrupt, no monitor sense
    case SequencerIndex: return state_.sequencer_index;
    case SequencerData: return at(state_.sequencer, state_.sequencer_index);
    case DacMask: return state_.dac_mask;
    case DacReadIndex: return state_.dac_reading ? 3 : 0;
    case DacWriteIndex: return state_.dac_write_index;
    case DacData: return read_dac();
    case MiscRead: return state_.misc;
    case GraphicsIndex: return state_.graphics_index;
    case GraphicsData: return at(state_.graphics, state_.graphics_index);
    case CrtcIndex:
    case CrtcIndexMono: return state_.crtc_index;
    case CrtcData:
    case CrtcDataMono: return at(state_.crtc, state_.crtc_index);
    case Status1:
    case Status1Mono: return read_status1();
    default: return 0;
  }
}

void Vga::write_register(u16 port, u8 value) {
  auto const absent = is_colour() ? port < AttributeWrite : port >= CrtcIndex;
  if (absent) return;
  switch (port) {
    case AttributeWrite: return write_attribute(value);
    case MiscWrite: state_.misc = value; break;
    case SequencerIndex: state_.sequencer_index = value & 7; break;
    case SequencerData: set(state_.sequencer, state_.sequencer_index, value); break;
    case DacMask: state_.dac_mask = value; break;
    case DacReadIndex:
      state_.dac_read_index = value;
      state_.dac_part = 0;
      state_.dac_reading = true;
      break;
    case DacWriteIndex:
      state_.dac_write_index = value;
      state_.dac_part = 0;
      state_.dac_reading = false;
      break;
    case DacData: return write_dac(value);
    case GraphicsIndex: state_.graphics_index = value & 15; break;
    case GraphicsData: set(state_.graphics, state_.graphics_index, value); break;
    case CrtcIndex:
    case CrtcIndexMono: state_.crtc_index = value; break;
    case CrtcData:
    case CrtcDataMono: return write_crtc(value);
    default: break;
  }
}

/// Retrace follows the machine's clock, whatever the timing registers say: guests only wait for it.
u8 Vga::read_status1() {
  state_.attribute_data = false;
  auto const in_frame = executor_.now_ns() % frame_ns;
  if (in_frame >= frame_ns - retrace_ns) return VerticalRetrace | DisplayOff;
  return in_frame % line_ns >= line_ns - blank_line_ns ? u8{DisplayOff} : u8{0};
}

/// Registers 0 to 7 may be protected, all but the bit of the line compare.
void Vga::write_crtc(u8 value) {
  constexpr u8 line_compare_bit{1 << 4};
  auto const is_protected =
      (state_.crtc[VerticalRetraceEnd] & CrtcProtect) != 0 && state_.crtc_index <= Overflow;
  if (!is_protected) return set(state_.crtc, state_.crtc_index, value);
  if (state_.crtc_index != Overflow) return;
  auto& overflow = state_.crtc[Overflow];
  overflow = static_cast<u8>((overflow & ~line_compare_bit) | (value & line_compare_bit));
}

void Vga::write_attribute(u8 value) {
  if (state_.attribute_data) {
    set(state_.attribute, state_.attribute_index & 0x1F, value);
  } else {
    state_.attribute_index = value & 0x3F;
  }
  state_.attribute_data = !state_.attribute_data;
}

void Vga::write_dac(u8 value) {
  auto& colour = state_.palette[state_.dac_write_index];
  (state_.dac_part == 0 ? colour.red : state_.dac_part == 1 ? colour.green : colour.blue) = value;
  if (++state_.dac_part < 3) return;
  state_.dac_part = 0;
  ++state_.dac_write_index;
}

u8 Vga::read_dac() {
  auto const& colour = state_.palette[state_.dac_read_index];
  auto const value = state_.dac_part == 0 ? colour.red : state_.dac_part == 1 ? colour.green : colour.blue;
  if (++state_.dac_part == 3) {
    state_.dac_part = 0;
    ++state_.dac_read_index;
  }
  return value;
}

u64 Vga::read_bar(u8 bar, u64 offset, u8 width) {
  auto value = u64{0};
  if (bar == FrameBuffer) {
    if (offset + width > memory_.size()) return ~u64{0};
    std::memcpy(&value, memory_.data() + offset, width);
    return value;
  }
  if (offset >= registers_vga && offset + width <= registers_vga_end) {
    for (auto i = u8{0}; i < width; ++i) {
      value |= u64{read_register(static_cast<u16>(AttributeWrite + offset - registers_vga + i))} << (8 * i);
    }
    return value;
  }
  if (offset < registers_dispi || offset + width > registers_dispi_end || offset % 2 != 0) return ~u64{0};
  state_.dispi_index = static_cast<u16>((offset - registers_dispi) / 2);
  return read_dispi();
}

void Vga::write_bar(u8 bar, u64 offset, u8 width, u64 value) {
  if (bar == FrameBuffer) {
    if (offset + width <= memory_.size()) std::memcpy(memory_.data() + offset, &value, width);
    return;
  }
  if (offset >= registers_vga && offset + width <= registers_vga_end) {
    for (auto i = u8{0}; i < width; ++i) {
      write_register(static_cast<u16>(AttributeWrite + offset - registers_vga + i),
                     static_cast<u8>(value >> (8 * i)));
    }
    return;
  }
  if (offset < registers_dispi || offset + width > registers_dispi_end || offset % 2 != 0) return;
  state_.dispi_index = static_cast<u16>((offset - registers_dispi) / 2);
  write_dispi(static_cast<u16>(value));
}

}  // namespace vireo::device
