#pragma once

#include <array>

#include "bus/device.h"
#include "bus/lines.h"
#include "device/chipset/i8042/spec.h"

namespace vireo::device {

/// The keyboard controller with a keyboard and without a mouse, its reset line, and port 92h.
class I8042 final : public bus::Device, public bus::PioTarget {
 public:
  I8042(bus::IrqLine& irq, bus::MachineControl& control) : irq_{irq}, control_{control} {}

  /// Scan codes (set 1) of keys pressed and released. False, and nothing is taken, when they do not fit or the
  /// guest does not listen.
  bool type(std::span<u8 const> scan_codes);

  bus::PioTarget* pio() override { return this; }
  void start() override {}
  void stop() override {}
  void reset() override;
  state::Saved save() const override { return state::save(state_); }
  Result<> restore(state::Saved const& saved) override;

  std::span<bus::PortRange const> ports() const override;
  u32 read_port(u16 port, u8 width) override;
  void write_port(u16 port, u8 width, u32 value) override;

 private:
  struct Byte {  // in the output queue
    u8 value{};
    u8 auxiliary{};
  };
  struct State {
    static constexpr std::string_view schema{"i8042"};
    std::array<u8, 32> memory{i8042_spec::command_byte_reset};
    std::array<Byte, i8042_spec::queue_depth> queue{};
    u8 queued{};
    u8 last_output{};
    u8 pending_command{};   // controller command that waits for its data byte; 0: none
    u8 keyboard_command{};  // likewise for the keyboard
    bool last_was_command{};
    bool scanning{true};
    bool a20{true};
    static void fields(auto&& s, auto&& f) {
      f(1, "memory", s.memory);
      f(2, "queue", s.queue);
      f(3, "queued", s.queued);
      f(4, "last_output", s.last_output);
      f(5, "pending_command", s.pending_command);
      f(6, "keyboard_command", s.keyboard_command);
      f(7, "last_was_command", s.last_was_command);
      f(8, "scanning", s.scanning);
      f(9, "a20", s.a20);
    }
  };

  u8 command_byte() const { return state_.memory[0]; }
  u8 output_port() const;
  void write_output_port(u8 value);
  void push(u8 value, bool auxiliary = false);
  u8 pop();
  void update_irq();
  void write_command(u8 command);
  void write_data(u8 value);
  void write_keyboard(u8 value);

  bus::IrqLine& irq_;
  bus::MachineControl& control_;
  State state_;
};

}  // namespace vireo::device
