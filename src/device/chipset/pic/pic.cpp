#include "device/chipset/pic/pic.h"

#include <algorithm>

#include "device/chipset/pic/spec.h"

namespace vireo::device {

using namespace pic_spec;

namespace {
constexpr u8 bit(u32 input) { return static_cast<u8>(1U << (input & 7)); }
}  // namespace

std::span<bus::PortRange const> Pic::ports() const {
  static constexpr auto ranges =
      std::array<bus::PortRange, 3>{{{MasterCommand, 2}, {SlaveCommand, 2}, {MasterEdgeLevel, 2}}};
  return ranges;
}

void Pic::reset() {
  state_ = {};
  update();
}

Result<> Pic::restore(state::Saved const& saved) {
  auto state = State{};
  reset();
  TRY(state::restore(saved, state));
  for (auto const& chip : state.chips) {
    auto const sound = chip.next_icw <= 4 && chip.first_priority < 8 && chip.rotate_auto <= 1 &&
                       chip.special_mask <= 1 && chip.read_in_service <= 1 && chip.poll <= 1 &&
                       (chip.vector_base & 7) == 0;
    if (!sound) return fail(Errc::corrupt, "pic: a field is out of range");
  }
  state_ = state;
  update();
  return {};
}

void Pic::set_input(u8 irq, bool high) {
  if (irq >= 16 || irq == cascade_input) return;
  auto& chip = state_.chips[irq / 8];
  auto const mask = bit(irq);
  auto const was_high = (chip.lines & mask) != 0;
  chip.lines = static_cast<u8>(high ? chip.lines | mask : chip.lines & ~mask);
  if ((chip.level & mask) != 0) {
    chip.request = static_cast<u8>(high ? chip.request | mask : chip.request & ~mask);
  } else if (high && !was_high) {
    chip.request |= mask;
  }
  update();
}

/// Of `inputs`, the one that comes first in the chip's rotation, or -1.
int Pic::highest_of(Chip const& chip, u8 inputs) {
  for (auto i = 0; i < 8; ++i) {
    auto const input = (chip.first_priority + i) & 7;
    if ((inputs & (1 << input)) != 0) return input;
  }
  return -1;
}

int Pic::highest_request(Chip const& chip) const {
  auto const request = highest_of(chip, static_cast<u8>(chip.request & ~chip.mask));
  if (request < 0) return -1;
  auto blocking = chip.in_service;
  if (chip.special_mask != 0) blocking = static_cast<u8>(blocking & ~chip.mask);
  if ((chip.icw4 & SpecialFullyNested) != 0 && &chip == &state_.chips[0]) {
    blocking = static_cast<u8>(blocking & ~bit(cascade_input));
  }
  auto const served = highest_of(chip, blocking);
  if (served < 0) return request;
  auto const rank = [&](int input) { return (input - chip.first_priority) & 7; };
  return rank(request) < rank(served) ? request : -1;
}

void Pic::update() {
  auto& master = state_.chips[0];
  auto const cascaded = highest_request(state_.chips[1]) >= 0;
  master.request =
      static_cast<u8>(cascaded ? master.request | bit(cascade_input) : master.request & ~bit(cascade_input));
  output_.set(highest_request(master) >= 0);
}

void Pic::take(Chip& chip, u8 input) {
  if ((chip.icw4 & AutoEoi) == 0) {
    chip.in_service |= bit(input);
  } else if (chip.rotate_auto != 0) {
    chip.first_priority = (input + 1) & 7;
  }
  if ((chip.level & bit(input)) == 0) chip.request = static_cast<u8>(chip.request & ~bit(input));
}

int Pic::acknowledge_slave() {
  auto& slave = state_.chips[1];
  auto const input = highest_request(slave);
  if (input < 0) return slave.vector_base + 7;  // spurious: 8259A, "Interrupt sequence"
  take(slave, static_cast<u8>(input));
  return slave.vector_base + input;
}

int Pic::acknowledge() {
  auto& master = state_.chips[0];
  auto const input = highest_request(master);
  if (input < 0) return -1;
  take(master, static_cast<u8>(input));
  auto const vector = input == cascade_input ? acknowledge_slave() : master.vector_base + input;
  update();
  return vector;
}

u8 Pic::poll(Chip& chip) {
  chip.poll = 0;
  auto const input = highest_request(chip);
  if (input < 0) return 0;
  take(chip, static_cast<u8>(input));
  update();
  return static_cast<u8>(0x80 | input);
}

u8 Pic::read_command(Chip& chip) {
  if (chip.poll != 0) return poll(chip);
  return chip.read_in_service != 0 ? chip.in_service : chip.request;
}

u32 Pic::read_port(u16 port, u8 width) {
  if (width > 1) {
    auto value = u32{0};
    for (auto i = u8{0}; i < width; ++i) value |= read_port(static_cast<u16>(port + i), 1) << (8 * i);
    return value;
  }
  auto& master = state_.chips[0];
  auto& slave = state_.chips[1];
  switch (port) {
    case MasterCommand: return read_command(master);
    case SlaveCommand: return read_command(slave);
    case MasterData: return master.poll != 0 ? poll(master) : master.mask;
    case SlaveData: return slave.poll != 0 ? poll(slave) : slave.mask;
    case MasterEdgeLevel: return master.level;
    case SlaveEdgeLevel: return slave.level;
    default: return 0xFF;
  }
}

void Pic::write_port(u16 port, u8 width, u32 value) {
  for (auto i = u8{1}; i < width; ++i) {
    if (port + i <= 0xFFFF) write_port(static_cast<u16>(port + i), 1, value >> (8 * i));
  }
  auto const byte = static_cast<u8>(value);
  switch (port) {
    case MasterCommand: write_command(state_.chips[0], byte); break;
    case SlaveCommand: write_command(state_.chips[1], byte); break;
    case MasterData: write_data(state_.chips[0], byte); break;
    case SlaveData: write_data(state_.chips[1], byte); break;
    case MasterEdgeLevel: state_.chips[0].level = byte & master_level_mask; break;
    case SlaveEdgeLevel: state_.chips[1].level = byte & slave_level_mask; break;
    default: return;
  }
  update();
}

void Pic::write_command(Chip& chip, u8 value) {
  if ((value & Initialize) != 0) {
    auto const lines = chip.lines;
    auto const level = chip.level;
    chip = {};
    chip.lines = lines;
    chip.level = level;
    chip.request = lines & level;
    chip.icw1 = value;
    chip.next_icw = 2;
    return;
  }
  if ((value & Ocw3) == 0) return write_ocw2(chip, value);
  if ((value & EnableSpecialMask) != 0) chip.special_mask = (value & SpecialMask) != 0 ? 1 : 0;
  if ((value & Poll) != 0) chip.poll = 1;
  if ((value & ReadRegister) != 0) chip.read_in_service = value & ReadInService;
}

void Pic::write_ocw2(Chip& chip, u8 value) {
  auto const named = static_cast<u8>(value & 7);
  auto const served = highest_of(chip, chip.in_service);
  switch (value >> 5) {
    case ClearRotateInAutoEoi: chip.rotate_auto = 0; break;
    case SetRotateInAutoEoi: chip.rotate_auto = 1; break;
    case NonSpecificEoi:
    case RotateOnNonSpecificEoi:
      if (served < 0) break;
      chip.in_service = static_cast<u8>(chip.in_service & ~(1 << served));
      if (value >> 5 == RotateOnNonSpecificEoi) chip.first_priority = (served + 1) & 7;
      break;
    case SpecificEoi: chip.in_service = static_cast<u8>(chip.in_service & ~bit(named)); break;
    case SetPriority: chip.first_priority = (named + 1) & 7; break;
    case RotateOnSpecificEoi:
      chip.in_service = static_cast<u8>(chip.in_service & ~bit(named));
      chip.first_priority = (named + 1) & 7;
      break;
    default: break;
  }
}

void Pic::write_data(Chip& chip, u8 value) {
  switch (chip.next_icw) {
    case 2:
      chip.vector_base = value & 0xF8;
      chip.next_icw = (chip.icw1 & Single) == 0 ? 3 : (chip.icw1 & Icw4Needed) != 0 ? 4 : 0;
      break;
    case 3: chip.next_icw = (chip.icw1 & Icw4Needed) != 0 ? 4 : 0; break;
    case 4:
      chip.icw4 = value;
      chip.next_icw = 0;
      break;
    default: chip.mask = value; break;
  }
}

}  // namespace vireo::device
