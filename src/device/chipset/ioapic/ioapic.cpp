#include "device/chipset/ioapic/ioapic.h"

#include "device/chipset/dword_registers.h"

namespace vireo::device {

using namespace ioapic_spec;

Result<> Ioapic::restore(state::Saved const& saved) {
  reset();
  auto state = State{};
  TRY(state::restore(saved, state));
  for (auto const entry : state.entries) {
    if ((entry & ~(writable_entry_bits | RemoteIrr)) != 0)
      return fail(Errc::corrupt, "ioapic: a reserved entry bit");
  }
  if (state.lines >> pin_count != 0 || state.id > 0xF)
    return fail(Errc::corrupt, "ioapic: a field is out of range");
  state_ = state;
  return {};
}

void Ioapic::set_input(u8 pin, bool high) {
  if (pin >= pin_count) return;
  auto const mask = 1U << pin;
  auto const was_high = (state_.lines & mask) != 0;
  state_.lines = high ? state_.lines | mask : state_.lines & ~mask;
  auto const entry = state_.entries[pin];
  if ((entry & LevelTriggered) != 0) return service_level(pin);
  if (high && !was_high && (entry & Masked) == 0) send(entry);
}

void Ioapic::service_level(u8 pin) {
  auto& entry = state_.entries[pin];
  auto const asserted = (state_.lines >> pin & 1) != 0;
  if (!asserted || (entry & (Masked | RemoteIrr)) != 0) return;
  entry |= RemoteIrr;
  send(entry);
}

void Ioapic::send(u64 entry) {
  auto const level = (entry & LevelTriggered) != 0;
  auto const address = message_base | (entry >> destination_shift) << message_destination_shift |
                       ((entry & LogicalDestination) != 0 ? message_logical : 0);
  auto const data =
      static_cast<u32>(entry & (VectorMask | DeliveryModeMask)) | (level ? message_assert | message_level : 0);
  sink_.signal(address, data);
}

void Ioapic::end_of_interrupt(u8 vector) {
  for (auto pin = u8{0}; pin < pin_count; ++pin) {
    auto& entry = state_.entries[pin];
    if ((entry & VectorMask) != vector || (entry & LevelTriggered) == 0 || (entry & RemoteIrr) == 0) continue;
    entry &= ~u64{RemoteIrr};
    service_level(pin);
  }
}

u32 Ioapic::read_register() const {
  if (state_.select == Id || state_.select == Arbitration) return u32{state_.id} << 24;
  if (state_.select == Version) return u32{pin_count - 1} << 16 | version;
  auto const index = static_cast<u32>(state_.select) - Redirection;
  if (state_.select < Redirection || index >= 2 * pin_count) return 0;
  return static_cast<u32>(state_.entries[index / 2] >> (32 * (index % 2)));
}

void Ioapic::write_register(u32 value, u32 mask) {
  if (state_.select == Id) {
    if ((mask >> 24) != 0) state_.id = value >> 24 & 0xF;
    return;
  }
  auto const index = static_cast<u32>(state_.select) - Redirection;
  if (state_.select < Redirection || index >= 2 * pin_count) return;
  auto const shift = 32 * (index % 2);
  auto const written = (u64{mask} << shift) & writable_entry_bits;
  auto& entry = state_.entries[index / 2];
  entry = (entry & ~written) | ((u64{value} << shift) & written);
  if ((entry & LevelTriggered) == 0) {
    entry &= ~u64{RemoteIrr};  // software without the EOI register clears Remote IRR in this way
    return;
  }
  service_level(static_cast<u8>(index / 2));
}

u64 Ioapic::read_mmio(Gpa at, u8 width) {
  return read_dwords(at - bus::address_plan::ioapic.start, width, [&](u64 offset) {
    if (offset == RegisterSelect) return u32{state_.select};
    return offset == Window ? read_register() : u32{0};
  });
}

void Ioapic::write_mmio(Gpa at, u8 width, u64 value) {
  write_dwords(at - bus::address_plan::ioapic.start, width, value, [&](u64 offset, u32 dword, u32 mask) {
    if (offset == RegisterSelect && (mask & 0xFF) != 0) state_.select = static_cast<u8>(dword);
    if (offset == Window) write_register(dword, mask);
    if (offset == Eoi && (mask & 0xFF) != 0) end_of_interrupt(static_cast<u8>(dword));
  });
}

}  // namespace vireo::device
