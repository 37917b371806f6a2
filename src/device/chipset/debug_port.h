#pragma once

#include <functional>
#include <string>

#include "bus/device.h"

namespace vireo::device {

/// Port 402, where SeaBIOS and OVMF write what they do, a character a time. Reading it says that somebody
/// listens.
class DebugPort final : public bus::Device, public bus::PioTarget {
 public:
  static constexpr u16 port{0x402};

  /// Called on the executor with each line, without its end.
  explicit DebugPort(std::function<void(std::string_view)> on_line) : on_line_{std::move(on_line)} {}

  bus::PioTarget* pio() override { return this; }
  void start() override {}
  void stop() override {}
  void reset() override { line_.clear(); }
  state::Saved save() const override { return state::save(State{}); }
  Result<> restore(state::Saved const& saved) override;

  std::span<bus::PortRange const> ports() const override;
  u32 read_port(u16, u8) override { return present; }
  void write_port(u16, u8 width, u32 value) override;

 private:
  static constexpr u32 present{0xE9};
  static constexpr std::size_t longest_line{1024};
  struct State {
    static constexpr std::string_view schema{"debug_port"};
    static void fields(auto&&, auto&&) {}
  };
  std::function<void(std::string_view)> on_line_;
  std::string line_;  // the guest cannot read it back
};

}  // namespace vireo::device
