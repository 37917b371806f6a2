#include "device/chipset/i8042/i8042.h"

#include <algorithm>
#include <utility>

namespace vireo::device {

using namespace i8042_spec;

std::span<bus::PortRange const> I8042::ports() const {
  static constexpr auto ranges = std::array<bus::PortRange, 3>{{{Data, 1}, {Command, 1}, {SystemControlA, 1}}};
  return ranges;
}

void I8042::reset() {
  state_ = {};
  update_irq();
}

Result<> I8042::restore(state::Saved const& saved) {
  reset();
  auto state = State{};
  TRY(state::restore(saved, state));
  auto const bad = [](Byte const& byte) { return byte.auxiliary > 1; };
  if (state.queued > queue_depth || std::any_of(state.queue.begin(), state.queue.end(), bad)) {
    return fail(Errc::corrupt, "i8042: a field is out of range");
  }
  state_ = state;
  update_irq();
  return {};
}

bool I8042::type(std::span<u8 const> scan_codes) {
  auto const listens = state_.scanning && (command_byte() & KeyboardDisabled) == 0;
  if (!listens || scan_codes.size() > std::size_t{queue_depth} - state_.queued) return false;
  for (auto const code : scan_codes) push(code);
  update_irq();
  return true;
}

void I8042::push(u8 value, bool auxiliary) {
  if (state_.queued == queue_depth) return;  // the guest does not read: as on hardware, later bytes are lost
  state_.queue.at(state_.queued++) = {value, static_cast<u8>(auxiliary ? 1 : 0)};
}

u8 I8042::pop() {
  if (state_.queued == 0) return state_.last_output;
  state_.last_output = state_.queue[0].value;
  std::copy(state_.queue.begin() + 1, state_.queue.end(), state_.queue.begin());
  state_.queue.back() = {};
  --state_.queued;
  irq_.set(false);  // the next byte is a new edge
  return state_.last_output;
}

void I8042::update_irq() {
  auto const full = state_.queued != 0 && state_.queue[0].auxiliary == 0;
  irq_.set(full && (command_byte() & KeyboardInterrupt) != 0);
}

u8 I8042::output_port() const {
  return static_cast<u8>(0xC0 | ResetHigh | (state_.a20 ? GateA20 : 0) |
                         (state_.queued != 0 ? KeyboardOutputFull : 0));
}

void I8042::write_output_port(u8 value) {
  state_.a20 = (value & GateA20) != 0;
  if ((value & ResetHigh) == 0) control_.request_reset("keyboard controller output port");
}

u32 I8042::read_port(u16 port, u8) {
  switch (port) {
    case Data: {
      auto const value = pop();
      update_irq();
      return value;
    }
    case Command: {
      auto const auxiliary = state_.queued != 0 && state_.queue[0].auxiliary != 0;
      return static_cast<u32>((state_.queued != 0 ? OutputFull : 0) | (command_byte() & SystemFlagSet) |
                              (state_.last_was_command ? LastWasCommand : 0) | KeyboardUnlocked |
                              (auxiliary ? OutputIsAuxiliary : 0));
    }
    case SystemControlA: return state_.a20 ? FastA20 : 0;
    default: return 0xFF;
  }
}

void I8042::write_port(u16 port, u8, u32 value) {
  auto const byte = static_cast<u8>(value);
  switch (port) {
    case Data:
      state_.last_was_command = false;
      write_data(byte);
      break;
    case Command:
      state_.last_was_command = true;
      write_command(byte);
      break;
    case SystemControlA:
      state_.a20 = (byte & FastA20) != 0;
      if ((byte & FastReset) != 0) control_.request_reset("system control port A (port 92)");
      break;
    default: break;
  }
  update_irq();
}

void I8042::write_command(u8 command) {
  state_.pending_command = 0;
  if (command >= ReadMemory && command < ReadMemory + 32) return push(state_.memory.at(command - ReadMemory));
  if (command >= PulseOutputPort) {
    if ((command & ResetHigh) == 0) control_.request_reset("keyboard controller");
    return;
  }
  switch (command) {
    case DisableAuxiliary: state_.memory[0] |= AuxiliaryDisabled; break;
    case EnableAuxiliary: state_.memory[0] &= static_cast<u8>(~AuxiliaryDisabled); break;
    case DisableKeyboard: state_.memory[0] |= KeyboardDisabled; break;
    case EnableKeyboard: state_.memory[0] &= static_cast<u8>(~KeyboardDisabled); break;
    case TestAuxiliary: push(auxiliary_test_failed); break;
    case TestKeyboard: push(0); break;
    case SelfTest:
      state_.memory[0] |= SystemFlagSet;
      push(controller_test_passed);
      break;
    case ReadInputPort: push(0x80); break;  // keyboard not locked
    case ReadOutputPort: push(output_port()); break;
    case WriteOutputPort:
    case WriteKeyboardBuffer:
    case WriteAuxiliaryBuffer:
    case WriteAuxiliary: state_.pending_command = command; break;
    default:
      if (command >= WriteMemory && command < WriteMemory + 32) state_.pending_command = command;
      break;
  }
}

void I8042::write_data(u8 value) {
  auto const command = std::exchange(state_.pending_command, u8{0});
  if (command == 0) return write_keyboard(value);
  if (command >= WriteMemory && command < WriteMemory + 32) {
    state_.memory.at(command - WriteMemory) = value;
    return;
  }
  if (command == WriteOutputPort) return write_output_port(value);
  if (command == WriteKeyboardBuffer) return push(value);
  if (command == WriteAuxiliaryBuffer) return push(value, true);
  // WriteAuxiliary: nobody is there to answer.
}

void I8042::write_keyboard(u8 value) {
  state_.memory[0] &= static_cast<u8>(~KeyboardDisabled);  // data to the keyboard enables its clock
  if (auto const command = std::exchange(state_.keyboard_command, u8{0}); command != 0) {
    push(Acknowledge);
    if (command == ScanCodeSet && value == 0) push(2);
    return;
  }
  switch (value) {
    case SetLeds:
    case ScanCodeSet:
    case SetRate:
      state_.keyboard_command = value;
      push(Acknowledge);
      break;
    case Echo: push(Echo); break;
    case Identify:
      push(Acknowledge);
      push(0xAB);
      push((command_byte() & Translate) != 0 ? 0x41 : 0x83);
      break;
    case EnableScanning:
    case DisableScanning:
    case SetDefaults:
      state_.scanning = value != DisableScanning;
      push(Acknowledge);
      break;
    case KeyboardReset:
      state_.scanning = true;
      push(Acknowledge);
      push(TestPassed);
      break;
    case Resend: push(state_.last_output); break;
    default: push(ResendRequest); break;
  }
}

}  // namespace vireo::device
