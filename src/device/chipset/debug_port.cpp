#include "device/chipset/debug_port.h"

namespace vireo::device {

Result<> DebugPort::restore(state::Saved const& saved) {
  reset();
  auto state = State{};
  return state::restore(saved, state);
}

std::span<bus::PortRange const> DebugPort::ports() const {
  static constexpr auto range = bus::PortRange{port, 1};
  return {&range, 1};
}

void DebugPort::write_port(u16, u8, u32 value) {
  auto const character = static_cast<char>(value);
  auto const prints = character == '\t' || (character >= ' ' && character < 127);
  if (prints) line_ += character;
  if (character != '\n' && line_.size() < longest_line) return;
  on_line_(line_);
  line_.clear();
}

}  // namespace vireo::device
