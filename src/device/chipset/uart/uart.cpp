#include "device/chipset/uart/uart.h"

#include <algorithm>
#include <utility>

namespace vireo::device {

using namespace uart_spec;

void Uart::reset() {
  state_ = {};
  update_irq();
}

Result<> Uart::restore(state::Saved const& saved) {
  reset();
  auto state = State{};
  TRY(state::restore(saved, state));
  auto const sound = state.received_count <= fifo_depth && state.interrupt_enable <= 0xF &&
                     state.modem_control <= 0x1F && (state.line_errors & ~Overrun) == 0 &&
                     (state.fifo_control & ~(FifoEnable | 0xC0)) == 0;
  if (!sound) return fail(Errc::corrupt, "uart: a field is out of range");
  state_ = state;
  refused_ = true;  // whatever the backend holds, it may offer again
  update_irq();
  return {};
}

u32 Uart::receive(ConstBytes bytes) {
  auto taken = u32{0};
  auto const open = !loopback();
  while (open && taken < bytes.size() && state_.received_count < capacity()) {
    state_.received.at(state_.received_count++) = std::to_integer<u8>(bytes[taken++]);
  }
  refused_ = taken < bytes.size();
  update_irq();
  return taken;
}

u8 Uart::trigger() const {
  static constexpr auto levels = std::array<u8, 4>{1, 4, 8, 14};
  return levels.at(state_.fifo_control >> 6);
}

u8 Uart::identification() const {
  auto const enabled = state_.interrupt_enable;
  if ((enabled & ReceiverLineStatus) != 0 && state_.line_errors != 0) return IdReceiverLineStatus;
  if ((enabled & ReceivedData) != 0 && state_.received_count != 0) {
    return capacity() == 1 || state_.received_count >= trigger() ? IdReceivedData : IdCharacterTimeout;
  }
  if ((enabled & TransmitterEmpty) != 0 && state_.transmitter_interrupt) return IdTransmitterEmpty;
  if ((enabled & ModemStatusChange) != 0 && (state_.modem_status & DeltaMask) != 0) return IdModemStatus;
  return IdNone;
}

u8 Uart::take_received() {
  if (state_.received_count == 0) return 0;
  auto const byte = state_.received[0];
  std::copy(state_.received.begin() + 1, state_.received.end(), state_.received.begin());
  state_.received.back() = 0;
  --state_.received_count;
  return byte;
}

void Uart::send(u8 byte) {
  // The register is full for a moment: the wire falls, and rises again as an edge.
  state_.transmitter_interrupt = false;
  update_irq();
  state_.transmitter_interrupt = true;
  if (!loopback()) {
    auto const raw = std::byte{byte};
    if (backend_ != nullptr) backend_->transmit({&raw, 1});
    return;
  }
  if (state_.received_count < capacity()) {
    state_.received.at(state_.received_count++) = byte;
  } else {
    state_.line_errors |= Overrun;
  }
}

void Uart::write_fifo_control(u8 value) {
  auto const toggled = ((value ^ state_.fifo_control) & FifoEnable) != 0;
  state_.fifo_control = (value & FifoEnable) != 0 ? value & (FifoEnable | 0xC0) : 0;
  if (toggled || (value & ResetReceiver) != 0) {
    state_.received = {};
    state_.received_count = 0;
  }
}

void Uart::update_modem_status() {
  auto lines = u8{ClearToSend | DataSetReady | DataCarrierDetect};
  if (loopback()) {
    auto const control = state_.modem_control;
    lines = static_cast<u8>(
        ((control & Rts) != 0 ? ClearToSend : 0) | ((control & Dtr) != 0 ? DataSetReady : 0) |
        ((control & Out1) != 0 ? RingIndicator : 0) | ((control & Out2) != 0 ? DataCarrierDetect : 0));
  }
  auto const old = state_.modem_status;
  auto changed = (lines ^ old) >> 4;
  if ((lines & RingIndicator) != 0) changed &= ~TrailingRing;  // only its trailing edge is reported
  state_.modem_status = static_cast<u8>(lines | (old & DeltaMask) | (changed & DeltaMask));
}

u8 Uart::read_register(u8 index) {
  switch (index) {
    case ReceiverBuffer: return divisor_access() ? static_cast<u8>(state_.divisor) : take_received();
    case InterruptEnable:
      return divisor_access() ? static_cast<u8>(state_.divisor >> 8) : state_.interrupt_enable;
    case InterruptIdentification: {
      auto const source = identification();
      if (source == IdTransmitterEmpty) state_.transmitter_interrupt = false;
      return static_cast<u8>(source | (capacity() > 1 ? FifosEnabled : 0));
    }
    case LineControl: return state_.line_control;
    case ModemControl: return state_.modem_control;
    case LineStatus:
      return static_cast<u8>((state_.received_count != 0 ? DataReady : 0) |
                             std::exchange(state_.line_errors, u8{0}) | HoldingEmpty | Empty);
    case ModemStatus: {
      auto const status = state_.modem_status;
      state_.modem_status = static_cast<u8>(status & ~DeltaMask);
      return status;
    }
    default: return state_.scratch;
  }
}

void Uart::write_register(u8 index, u8 value) {
  switch (index) {
    case ReceiverBuffer:
      if (divisor_access()) {
        state_.divisor = static_cast<u16>((state_.divisor & 0xFF00) | value);
      } else {
        send(value);
      }
      break;
    case InterruptEnable:
      if (divisor_access()) {
        state_.divisor = static_cast<u16>((state_.divisor & 0xFF) | value << 8);
        break;
      }
      // Enabling the interrupt while the register is empty raises it (8.6.4; Linux probes for that).
      if ((value & ~state_.interrupt_enable & TransmitterEmpty) != 0) state_.transmitter_interrupt = true;
      state_.interrupt_enable = value & 0xF;
      break;
    case InterruptIdentification: write_fifo_control(value); break;
    case LineControl: state_.line_control = value; break;
    case ModemControl:
      state_.modem_control = value & 0x1F;
      update_modem_status();
      break;
    case Scratch: state_.scratch = value; break;
    default: break;  // line and modem status are read-only
  }
}

u32 Uart::read_port(u16 port, u8 width) {
  auto value = u32{0};
  for (auto i = u8{0}; i < width; ++i) {
    auto const index = port - range_.first + i;
    auto const byte = index < range_.count ? read_register(static_cast<u8>(index)) : u8{0xFF};
    value |= u32{byte} << (8 * i);
  }
  update_irq();
  invite();
  return value;
}

void Uart::write_port(u16 port, u8 width, u32 value) {
  for (auto i = u8{0}; i < width; ++i) {
    auto const index = port - range_.first + i;
    if (index < range_.count) write_register(static_cast<u8>(index), static_cast<u8>(value >> (8 * i)));
  }
  update_irq();
  invite();
}

void Uart::invite() {
  auto const room = !loopback() && state_.received_count < capacity();
  if (room && backend_ != nullptr && std::exchange(refused_, false)) backend_->receive_ready();
}

}  // namespace vireo::device
