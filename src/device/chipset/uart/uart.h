#pragma once

#include <array>

#include "bus/device.h"
#include "bus/lines.h"
#include "device/chipset/serial_backend.h"
#include "device/chipset/uart/spec.h"

namespace vireo::device {

/// A 16550A serial port. The line is infinitely fast: what is written is sent at once, and what is below the
/// FIFO's trigger level is reported as a character timeout at once.
class Uart final : public bus::Device, public bus::PioTarget, public SerialPort {
 public:
  Uart(u16 first_port, bus::IrqLine& irq) : range_{first_port, 8}, irq_{irq} {}

  void connect(SerialBackend* backend) override { backend_ = backend; }
  u32 receive(ConstBytes bytes) override;

  bus::PioTarget* pio() override { return this; }
  void start() override {}
  void stop() override {}
  void reset() override;
  state::Saved save() const override { return state::save(state_); }
  Result<> restore(state::Saved const& saved) override;

  std::span<bus::PortRange const> ports() const override { return {&range_, 1}; }
  u32 read_port(u16 port, u8 width) override;
  void write_port(u16 port, u8 width, u32 value) override;

 private:
  struct State {
    static constexpr std::string_view schema{"uart"};
    std::array<u8, uart_spec::fifo_depth> received{};
    u8 received_count{};
    u8 interrupt_enable{};
    u8 fifo_control{};
    u8 line_control{};
    u8 modem_control{};
    u8 line_errors{};  // Overrun
    u8 modem_status{uart_spec::ClearToSend | uart_spec::DataSetReady | uart_spec::DataCarrierDetect};
    u8 scratch{};
    u16 divisor{12};
    bool transmitter_interrupt{};  // THR became empty and nobody has looked yet

    static void fields(auto&& s, auto&& f) {
      f(1, "received", s.received);
      f(2, "received_count", s.received_count);
      f(3, "interrupt_enable", s.interrupt_enable);
      f(4, "fifo_control", s.fifo_control);
      f(5, "line_control", s.line_control);
      f(6, "modem_control", s.modem_control);
      f(7, "line_errors", s.line_errors);
      f(8, "modem_status", s.modem_status);
      f(9, "scratch", s.scratch);
      f(10, "divisor", s.divisor);
      f(11, "transmitter_interrupt", s.transmitter_interrupt);
    }
  };

  u8 read_register(u8 index);
  void write_register(u8 index, u8 value);
  bool divisor_access() const { return (state_.line_control & uart_spec::DivisorLatchAccess) != 0; }
  bool loopback() const { return (state_.modem_control & uart_spec::Loopback) != 0; }
  u8 capacity() const { return (state_.fifo_control & uart_spec::FifoEnable) != 0 ? uart_spec::fifo_depth : 1; }
  u8 trigger() const;
  u8 identification() const;
  u8 take_received();
  void send(u8 byte);
  void write_fifo_control(u8 value);
  void update_modem_status();
  void invite();
  void update_irq() { irq_.set(identification() != uart_spec::IdNone); }

  bus::PortRange range_;
  bus::IrqLine& irq_;
  SerialBackend* backend_{nullptr};
  bool refused_{false};  // the backend waits for receive_ready()
  State state_;
};

}  // namespace vireo::device
