#pragma once

#include <array>
#include <memory>
#include <vector>

#include "bus/address_plan.h"
#include "bus/device.h"
#include "bus/lines.h"
#include "device/chipset/ioapic/ioapic.h"
#include "device/chipset/pic/pic.h"

namespace vireo::device {

/// The wiring between devices and the two interrupt controllers. Wires that share an input are or-ed together.
///
/// ISA interrupt 0 arrives at I/O APIC pin 2. PCI inputs (GSI 16..23) also reach the PIC, at 10 (even) and 11
/// (odd).
class IrqRouter final : public bus::Device {
 public:
  IrqRouter(Pic& pic, Ioapic& ioapic) : pic_{pic}, ioapic_{ioapic} {}

  /// A new wire into ISA interrupt 0..15 or GSI 16..23. Made before the machine starts, always in the same
  /// order.
  bus::IrqLine& attach(u8 gsi) { return attach(gsi, false); }
  /// A wire that HPET legacy replacement cuts: the 8254's and the RTC's.
  bus::IrqLine& attach_legacy(u8 gsi) { return attach(gsi, true); }
  void set_legacy_replaced(bool replaced);

  void start() override {}
  void stop() override {}
  void reset() override;
  state::Saved save() const override { return state::save(state_); }
  Result<> restore(state::Saved const& saved) override;

  static constexpr u8 pic_input_of(u8 gsi) { return gsi < 16 ? gsi : static_cast<u8>(10 + (gsi & 1)); }

 private:
  struct Wire final : bus::IrqLine {
    Wire(IrqRouter& owner, std::size_t number, u8 input, bool is_legacy)
        : router{owner}, index{number}, gsi{input}, legacy{is_legacy} {}
    void set(bool high) override { router.drive(*this, high); }
    IrqRouter& router;
    std::size_t index;
    u8 gsi;
    bool legacy;
  };
  struct State {
    static constexpr std::string_view schema{"irq_router"};
    std::vector<u8> levels;  // one per wire
    bool legacy_replaced{};
    static void fields(auto&& s, auto&& f) {
      f(1, "levels", s.levels);
      f(2, "legacy_replaced", s.legacy_replaced);
    }
  };

  bus::IrqLine& attach(u8 gsi, bool legacy);
  void drive(Wire const& wire, bool high);
  bool level_of(auto&& selects) const;
  void update(u8 gsi);

  Pic& pic_;
  Ioapic& ioapic_;
  std::vector<std::unique_ptr<Wire>> wires_;
  State state_;
};

}  // namespace vireo::device
