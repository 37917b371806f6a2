#pragma once

#include <array>

#include "bus/device.h"
#include "bus/executor.h"
#include "bus/pci.h"
#include "device/vga/spec.h"
#include "display/screen.h"

namespace vireo::device {

/// How the registers are after a reset: as hardware has them, or as a BIOS would leave them.
enum class VgaStart : u8 { blank, text_mode };

/// A VGA with the Bochs display interface: text, planar, CGA and 256-colour modes, and a linear frame buffer of
/// up to 2560 by 1600. Video memory keeps its four planes side by side in each dword; chained modes and the
/// frame buffer see it byte by byte. A reset leaves it as it is, as hardware does.
class Vga final : public bus::Device,
                  public bus::PioTarget,
                  public bus::MmioTarget,
                  public bus::PciFunction,
                  public display::Screen {
 public:
  static constexpr u64 memory_bytes{16 * MiB};
  static constexpr GpaRange legacy_range{Gpa{0xA'0000}, 0x2'0000};

  /// `video_memory` has memory_bytes and outlives the device, as `executor` does.
  Vga(bus::Executor& executor, Bytes video_memory, VgaStart start);

  // bus::Device
  bus::PioTarget* pio() override { return this; }
  bus::MmioTarget* mmio() override { return this; }
  bus::PciFunction* pci() override { return this; }
  void start() override {}
  void stop() override {}
  void reset() override;
  state::Saved save() const override;
  Result<> restore(state::Saved const& saved) override;

  // Ports and the window at A0000.
  std::span<bus::PortRange const> ports() const override;
  u32 read_port(u16 port, u8 width) override;
  void write_port(u16 port, u8 width, u32 value) override;
  std::span<GpaRange const> ranges() const override { return {&legacy_range, 1}; }
  u64 read_mmio(Gpa at, u8 width) override;
  void write_mmio(Gpa at, u8 width, u64 value) override;

  // bus::PciFunction
  bus::PciConfigSpace& config() override { return config_; }
  void config_written(u16, u8) override {}
  u64 read_bar(u8 bar, u64 offset, u8 width) override;
  void write_bar(u8 bar, u64 offset, u8 width, u64 value) override;
  Bytes bar_memory(u8 bar) override { return bar == vga_spec::FrameBuffer ? memory_ : Bytes{}; }
  void connect_intx(bus::IrqLine*) override {}

  // display::Screen
  std::optional<display::TextScreen> text() const override;
  display::Picture picture() const override;

 private:
  struct Colour {
    u8 red{}, green{}, blue{};
  };
  struct State {
    static constexpr std::string_view schema{"vga"};
    u8 misc{};
    u8 sequencer_index{}, graphics_index{}, crtc_index{}, attribute_index{};
    bool attribute_data{};  // port 3C0 takes data next
    std::array<u8, vga_spec::sequencer_count> sequencer{};
    std::array<u8, vga_spec::graphics_count> graphics{};
    std::array<u8, vga_spec::crtc_count> crtc{};
    std::array<u8, vga_spec::attribute_count> attribute{};
    u8 dac_mask{0xFF};
    u8 dac_read_index{}, dac_write_index{}, dac_part{};
    bool dac_reading{};
    std::array<Colour, 256> palette{};
    u32 latch{};
    u16 dispi_index{};
    std::array<u16, vga_spec::dispi_count> dispi{};
    static void fields(auto&& s, auto&& f) {
      f(1, "misc", s.misc);
      f(2, "sequencer_index", s.sequencer_index);
      f(3, "graphics_index", s.graphics_index);
      f(4, "crtc_index", s.crtc_index);
      f(5, "attribute_index", s.attribute_index);
      f(6, "attribute_data", s.attribute_data);
      f(7, "sequencer", s.sequencer);
      f(8, "graphics", s.graphics);
      f(9, "crtc", s.crtc);
      f(10, "attribute", s.attribute);
      f(11, "dac_mask", s.dac_mask);
      f(12, "dac_read_index", s.dac_read_index);
      f(13, "dac_write_index", s.dac_write_index);
      f(14, "dac_part", s.dac_part);
      f(15, "dac_reading", s.dac_reading);
      f(16, "palette", s.palette);
      f(17, "latch", s.latch);
      f(18, "dispi_index", s.dispi_index);
      f(19, "dispi", s.dispi);
    }
  };
  struct Mode {  // what the registers make of video memory
    enum class Kind : u8 { text, planar, two_bit, bytes, direct };
    Kind kind{};
    u32 width{}, height{};  // pixels
    u32 repeat_x{1}, repeat_y{1};
    u32 bits{};             // direct: of a pixel
    u64 start{}, stride{};  // bytes
    u32 split{~u32{0}};     // the line from which memory's start is shown
  };
  struct Place {  // of an address in the window
    u64 offset{};
    bool inside{};
  };

  // vga.cpp: registers
  u8 read_register(u16 port);
  void write_register(u16 port, u8 value);
  u8 read_status1();
  void write_crtc(u8 value);
  void write_attribute(u8 value);
  void write_dac(u8 value);
  u8 read_dac();
  bool is_colour() const { return (state_.misc & vga_spec::ColourPorts) != 0; }

  // text_mode.cpp
  void begin_in_text_mode();

  // dispi.cpp
  bool dispi_on() const { return (state_.dispi[vga_spec::DispiEnable] & vga_spec::DispiEnabled) != 0; }
  u16 read_dispi() const;
  void write_dispi(u16 value);
  void enable_dispi(u16 value);
  u32 dispi_stride() const;

  // video_memory.cpp
  Place place_of(Gpa at) const;
  u8 read_byte(Gpa at);
  void write_byte(Gpa at, u8 value);
  void write_planes(u64 offset, u8 value, u8 planes);
  u32& dword(u64 index);

  // picture.cpp
  Mode mode() const;
  u32 lines() const;
  u32 colour(u8 index) const;
  u32 attribute_colour(u8 pixel) const;
  void draw_text(display::Picture& picture) const;
  void draw_line(Mode const& mode, u32 line, std::span<u32> pixels) const;
  u8 memory_at(u64 offset) const;

  bus::Executor& executor_;
  Bytes memory_;
  VgaStart start_;
  bus::PciConfigSpace config_;
  State state_;
};

}  // namespace vireo::device
