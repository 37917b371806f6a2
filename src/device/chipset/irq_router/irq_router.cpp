#include "device/chipset/irq_router/irq_router.h"

#include <algorithm>

namespace vireo::device {

using namespace bus::address_plan;

bus::IrqLine& IrqRouter::attach(u8 gsi, bool legacy) {
  wires_.push_back(std::make_unique<Wire>(*this, wires_.size(), gsi, legacy));
  state_.levels.push_back(0);
  return *wires_.back();
}

bool IrqRouter::level_of(auto&& selects) const {
  return std::any_of(wires_.begin(), wires_.end(), [&](auto const& wire) {
    auto const cut = wire->legacy && state_.legacy_replaced;
    return !cut && state_.levels[wire->index] != 0 && selects(wire->gsi);
  });
}

void IrqRouter::update(u8 gsi) {
  auto const input = pic_input_of(gsi);
  pic_.set_input(input, level_of([&](u8 other) { return pic_input_of(other) == input; }));
  auto const pin = gsi == 0 ? gsi_timer : gsi;
  ioapic_.set_input(pin, level_of([&](u8 other) { return other == gsi; }));
}

void IrqRouter::drive(Wire const& wire, bool high) {
  auto& level = state_.levels[wire.index];
  if ((level != 0) == high) return;
  level = high ? 1 : 0;
  update(wire.gsi);
}

void IrqRouter::set_legacy_replaced(bool replaced) {
  if (state_.legacy_replaced == replaced) return;
  state_.legacy_replaced = replaced;
  update(0);
  update(gsi_rtc);
}

void IrqRouter::reset() {
  std::fill(state_.levels.begin(), state_.levels.end(), u8{0});
  state_.legacy_replaced = false;
  for (auto gsi = u8{0}; gsi < gsi_count; ++gsi) update(gsi);
}

/// The controllers restore their own inputs, so that nothing is driven here.
Result<> IrqRouter::restore(state::Saved const& saved) {
  reset();
  auto state = state_;
  TRY(state::restore(saved, state));
  auto const sound = std::all_of(state.levels.begin(), state.levels.end(), [](u8 level) { return level <= 1; });
  if (state.levels.size() != wires_.size() || !sound)
    return fail(Errc::corrupt, "irq_router: another set of wires");
  state_ = state;
  return {};
}

}  // namespace vireo::device
