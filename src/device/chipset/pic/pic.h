#pragma once

#include <array>

#include "bus/device.h"
#include "bus/lines.h"

namespace vireo::device {

/// The two cascaded 8259A interrupt controllers of a PC, with the edge/level registers.
class Pic final : public bus::Device, public bus::PioTarget {
 public:
  /// `output` is the master's INTR wire. It must outlive this.
  explicit Pic(bus::IrqLine& output) : output_{output} {}

  /// Drives input 0..15 (input 2 is the cascade and is ignored).
  void set_input(u8 irq, bool high);
  /// The INTA cycle: the vector, or -1 when nothing is requested any more.
  int acknowledge();
  bool requesting() const { return highest_request(state_.chips[0]) >= 0; }

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
  struct Chip {
    u8 lines{};        // wires as they are now
    u8 request{};      // IRR
    u8 in_service{};   // ISR
    u8 mask{};         // IMR
    u8 level{};        // ELCR
    u8 vector_base{};  // ICW2
    u8 next_icw{};     // 0: initialized; 2..4: the word expected next
    u8 icw1{};
    u8 icw4{};
    u8 first_priority{};  // the input of highest priority
    u8 rotate_auto{};
    u8 special_mask{};
    u8 read_in_service{};
    u8 poll{};
  };
  struct State {
    static constexpr std::string_view schema{"pic"};
    std::array<Chip, 2> chips{};
    static void fields(auto&& s, auto&& f) { f(1, "chips", s.chips); }
  };

  static int highest_of(Chip const& chip, u8 inputs);
  int highest_request(Chip const& chip) const;
  void take(Chip& chip, u8 input);
  int acknowledge_slave();
  void update();
  void write_command(Chip& chip, u8 value);
  void write_ocw2(Chip& chip, u8 value);
  void write_data(Chip& chip, u8 value);
  u8 read_command(Chip& chip);
  u8 poll(Chip& chip);

  bus::IrqLine& output_;
  State state_;
};

}  // namespace vireo::device
