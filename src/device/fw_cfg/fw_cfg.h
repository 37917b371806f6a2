#pragma once

#include <map>
#include <string>
#include <vector>

#include "bus/device.h"
#include "memory/guest_memory.h"

namespace vireo::device {

/// What firmware asks of the machine: items by number, files by name. The guest reads them only.
class FwCfg final : public bus::Device, public bus::PioTarget {
 public:
  using Item = std::vector<u8>;

  /// `memory` outlives the device. Signature and features are there from the beginning.
  explicit FwCfg(memory::GuestMemory& memory);

  /// Before the machine starts.
  void add(u16 key, Item item) { items_[key] = std::move(item); }
  /// Errc::invalid: a name of more than 55 characters, or one that is there.
  Result<> add_file(std::string const& name, Item content);

  bus::PioTarget* pio() override { return this; }
  void start() override {}
  void stop() override {}
  void reset() override { state_ = {}; }
  state::Saved save() const override { return state::save(state_); }
  Result<> restore(state::Saved const& saved) override;

  std::span<bus::PortRange const> ports() const override;
  u32 read_port(u16 port, u8 width) override;
  void write_port(u16 port, u8 width, u32 value) override;

 private:
  struct State {
    static constexpr std::string_view schema{"fw_cfg"};
    u16 key{};
    u32 offset{};
    u32 dma_high{};
    static void fields(auto&& s, auto&& f) {
      f(1, "key", s.key);
      f(2, "offset", s.offset);
      f(3, "dma_high", s.dma_high);
    }
  };
  void select(u16 key);
  void write_directory();
  /// `into` gets the item's next bytes, and zeroes behind its end.
  void take(Bytes into);
  void transfer(Gpa at);
  bool copy(Gpa to, u32 length);

  memory::GuestMemory& memory_;
  std::map<u16, Item> items_;
  std::map<std::string, u16> files_;
  State state_;
};

}  // namespace vireo::device
