#include <algorithm>
#include <cassert>

#include "bus/pci.h"
#include "bus/pci_spec.h"

namespace vireo::bus {
namespace {

using namespace pci_spec;

struct State {
  struct Entry {
    u64 address;
    u32 data;
    u32 control;
  };
  static_assert(sizeof(Entry) == 16);

  static constexpr std::string_view schema{"pci.config"};
  std::array<u8, 256> bytes{};
  std::vector<Entry> entries;
  std::vector<u8> pending;

  static void fields(auto&& s, auto&& f) {
    f(1, "bytes", s.bytes);
    f(2, "msix_entries", s.entries);
    f(3, "msix_pending", s.pending);
  }
};

template <std::size_t size>
void put(std::array<u8, size>& bytes, std::size_t offset, u64 value, std::size_t width) {
  for (auto i = std::size_t{0}; i < width; ++i) bytes.at(offset + i) = static_cast<u8>(value >> (8 * i));
}

template <std::size_t size>
u64 get(std::array<u8, size> const& bytes, std::size_t offset, std::size_t width) {
  auto value = u64{0};
  for (auto i = std::size_t{0}; i < width; ++i) value |= u64{bytes.at(offset + i)} << (8 * i);
  return value;
}

constexpr std::size_t bar_offset_of(u8 index) { return BaseAddress0 + std::size_t{4} * index; }

}  // namespace

PciConfigSpace::PciConfigSpace(PciIdentity const& identity, u8 interrupt_pin) {
  put(initial_, VendorId, identity.vendor, 2);
  put(initial_, DeviceId, identity.device, 2);
  put(initial_, RevisionId, identity.revision, 1);
  put(initial_, ClassCode, identity.class_code, 3);
  put(initial_, SubsystemVendorId, identity.subsystem_vendor, 2);
  put(initial_, SubsystemId, identity.subsystem, 2);
  put(initial_, InterruptPin, interrupt_pin, 1);
  put(write_mask_, Command,
      IoSpace | MemorySpace | BusMaster | ParityErrorResponse | SerrEnable | InterruptDisable, 2);
  put(write_mask_, CacheLineSize, 0xFF, 1);
  put(write_mask_, InterruptLine, 0xFF, 1);
  bytes_ = initial_;
}

void PciConfigSpace::add_bar(u8 index, BarSpec spec) {
  assert(std::has_single_bit(spec.size) && spec.size >= 16);
  bars_.at(index) = spec;
  auto const offset = bar_offset_of(index);
  auto const is_64 = spec.kind == BarKind::memory64 || spec.kind == BarKind::memory64_prefetchable;
  auto type = u32{0};
  if (spec.kind == BarKind::io) type = IoIndicator;
  if (is_64) type = Type64;
  if (spec.kind == BarKind::memory64_prefetchable) type |= Prefetchable;
  put(initial_, offset, type, 4);
  put(write_mask_, offset, ~(spec.size - 1) & ~u64{0xF} & (spec.kind == BarKind::io ? 0xFFFF'FFFF : ~u64{0}),
      is_64 ? 8 : 4);
  bytes_ = initial_;
}

u8 PciConfigSpace::add_capability(u8 id, std::vector<u8> const& body, std::vector<u8> const& write_mask) {
  auto const offset = next_capability_;
  assert(offset + 2 + body.size() <= initial_.size() && write_mask.size() <= body.size());
  put(initial_, offset, id, 1);
  std::copy(body.begin(), body.end(), initial_.begin() + offset + 2);
  std::copy(write_mask.begin(), write_mask.end(), write_mask_.begin() + offset + 2);
  put(initial_, last_capability_ == 0 ? std::size_t{CapabilitiesPointer} : last_capability_ + std::size_t{1},
      offset, 1);
  put(initial_, Status, CapabilitiesList, 2);
  last_capability_ = offset;
  next_capability_ = static_cast<u8>((offset + 2 + body.size() + 3) & ~std::size_t{3});
  bytes_ = initial_;
  return offset;
}

void PciConfigSpace::add_msix(u16 vectors, u8 bar, u32 table_offset, u32 pba_offset) {
  assert(vectors >= 1 && vectors <= 2048 && table_offset % 8 == 0 && pba_offset % 8 == 0);
  auto body = std::array<u8, 10>{};
  put(body, 0, static_cast<u64>(vectors - 1), 2);
  put(body, 2, table_offset | bar, 4);
  put(body, 6, pba_offset | bar, 4);
  auto mask = std::array<u8, 2>{};
  put(mask, 0, MsixEnable | MsixFunctionMask, 2);
  msix_capability_ = add_capability(msix_capability_id, {body.begin(), body.end()}, {mask.begin(), mask.end()});
  msix_bar_ = bar;
  msix_table_ = table_offset;
  msix_pba_ = pba_offset;
  msix_entries_.assign(vectors, {});
  msix_pending_.assign(vectors, false);
}

void PciConfigSpace::make_writable(u16 offset, u32 mask, u8 width) {
  put(write_mask_, offset, get(write_mask_, offset, width) | mask, width);
}

u32 PciConfigSpace::read(u16 offset, u8 width) const {
  auto value = u32{0};
  for (auto i = u32{0}; i < width && i < 4; ++i) {
    auto const at = u32{offset} + i;
    if (at < bytes_.size()) value |= u32{bytes_[at]} << (8 * i);
  }
  return value;
}

bool PciConfigSpace::write(u16 offset, u8 width, u32 value) {
  auto moved = false;
  for (auto i = u32{0}; i < width && i < 4; ++i) {
    auto const at = u32{offset} + i;
    if (at >= bytes_.size()) break;
    auto const mask = write_mask_[at];
    auto const updated = static_cast<u8>((bytes_[at] & ~mask) | ((value >> (8 * i)) & mask));
    auto const decodes = (at >= BaseAddress0 && at < BaseAddress0 + 24) || at == Command;
    moved |= decodes && updated != bytes_[at];
    bytes_[at] = updated;
  }
  flush_pending();
  return moved;
}

u16 PciConfigSpace::command() const { return static_cast<u16>(get(bytes_, Command, 2)); }
bool PciConfigSpace::io_enabled() const { return (command() & IoSpace) != 0; }
bool PciConfigSpace::memory_enabled() const { return (command() & MemorySpace) != 0; }
bool PciConfigSpace::bus_master() const { return (command() & BusMaster) != 0; }
bool PciConfigSpace::intx_disabled() const { return (command() & InterruptDisable) != 0; }

u64 PciConfigSpace::bar_address(u8 index) const {
  switch (bars_.at(index).kind) {
    case BarKind::none: return 0;
    case BarKind::io:
    case BarKind::memory32: return get(bytes_, bar_offset_of(index), 4) & ~u64{0xF};
    case BarKind::memory64:
    case BarKind::memory64_prefetchable: return get(bytes_, bar_offset_of(index), 8) & ~u64{0xF};
  }
  return 0;
}

bool PciConfigSpace::msix_enabled() const {
  return msix_capability_ != 0 && (get(bytes_, msix_capability_ + std::size_t{2}, 2) & MsixEnable) != 0;
}

bool PciConfigSpace::msix_covers(u8 bar, u64 offset) const {
  if (msix_capability_ == 0 || bar != msix_bar_) return false;
  auto const in_table = offset >= msix_table_ && offset - msix_table_ < msix_entries_.size() * msix_entry_bytes;
  auto const in_pba = offset >= msix_pba_ && offset - msix_pba_ < (msix_entries_.size() + 63) / 64 * 8;
  return in_table || in_pba;
}

u64 PciConfigSpace::msix_read(u64 bar_offset, u8 width) const {
  auto value = u64{0};
  for (auto i = u32{0}; i < width && i < 8; ++i) {
    auto const at = bar_offset + i;
    if (!msix_covers(msix_bar_, at)) continue;
    auto byte = u8{0};
    if (at >= msix_table_ && at - msix_table_ < msix_entries_.size() * msix_entry_bytes) {
      auto const& entry = msix_entries_[(at - msix_table_) / msix_entry_bytes];
      auto const in_entry = (at - msix_table_) % msix_entry_bytes;
      auto const word = in_entry < 8 ? entry.address : u64{entry.control} << 32 | entry.data;
      byte = static_cast<u8>(word >> (8 * (in_entry % 8)));
    } else {
      for (auto bit = u64{0}; bit < 8; ++bit) {
        auto const vector = (at - msix_pba_) * 8 + bit;
        if (vector < msix_pending_.size() && msix_pending_[vector]) byte = static_cast<u8>(byte | 1U << bit);
      }
    }
    value |= u64{byte} << (8 * i);
  }
  return value;
}

void PciConfigSpace::msix_write(u64 bar_offset, u8 width, u64 value) {
  for (auto i = u32{0}; i < width && i < 8; ++i) {
    auto const at = bar_offset + i;
    if (at < msix_table_ || at - msix_table_ >= msix_entries_.size() * msix_entry_bytes)
      continue;  // PBA: read-only
    auto& entry = msix_entries_[(at - msix_table_) / msix_entry_bytes];
    auto const in_entry = (at - msix_table_) % msix_entry_bytes;
    auto const shift = 8 * (in_entry % 8);
    auto word = in_entry < 8 ? entry.address : u64{entry.control} << 32 | entry.data;
    word = (word & ~(u64{0xFF} << shift)) | (value >> (8 * i) & 0xFF) << shift;
    if (in_entry < 8) {
      entry.address = word;
    } else {
      entry.data = static_cast<u32>(word);
      entry.control = static_cast<u32>(word >> 32) & msix_vector_masked;
    }
  }
  flush_pending();
}

void PciConfigSpace::msix_signal(u16 index) {
  if (index >= msix_entries_.size() || !msix_enabled()) return;
  msix_pending_[index] = true;
  flush_pending();
}

void PciConfigSpace::flush_pending() {
  if (!msix_enabled() || (get(bytes_, msix_capability_ + std::size_t{2}, 2) & MsixFunctionMask) != 0) return;
  for (auto i = std::size_t{0}; i < msix_entries_.size(); ++i) {
    if (!msix_pending_[i] || (msix_entries_[i].control & msix_vector_masked) != 0) continue;
    msix_pending_[i] = false;
    if (sink_ != nullptr) sink_->signal(msix_entries_[i].address, msix_entries_[i].data);
  }
}

void PciConfigSpace::reset() {
  bytes_ = initial_;
  std::fill(msix_entries_.begin(), msix_entries_.end(), MsixEntry{});
  std::fill(msix_pending_.begin(), msix_pending_.end(), false);
}

state::Saved PciConfigSpace::save() const {
  auto state = State{.bytes = bytes_, .entries = {}, .pending = {}};
  for (auto const& entry : msix_entries_) state.entries.push_back({entry.address, entry.data, entry.control});
  for (auto const pending : msix_pending_) state.pending.push_back(pending ? 1 : 0);
  return state::save(state);
}

Result<> PciConfigSpace::restore(state::Saved const& saved) {
  reset();
  auto state = State{};
  state.bytes = bytes_;
  state.entries.assign(msix_entries_.size(), {0, 0, msix_vector_masked});
  state.pending.assign(msix_pending_.size(), 0);
  TRY(state::restore(saved, state));
  for (auto i = std::size_t{0}; i < bytes_.size(); ++i) {
    if (((state.bytes[i] ^ initial_[i]) & ~write_mask_[i]) != 0) {
      return fail(Errc::corrupt, "pci.config: a read-only bit differs at offset " + std::to_string(i));
    }
  }
  if (state.entries.size() != msix_entries_.size() || state.pending.size() != msix_pending_.size()) {
    return fail(Errc::corrupt, "pci.config: another number of MSI-X vectors");
  }
  auto const bad_entry = [](auto const& entry) { return (entry.control & ~msix_vector_masked) != 0; };
  if (std::any_of(state.entries.begin(), state.entries.end(), bad_entry) ||
      std::any_of(state.pending.begin(), state.pending.end(), [](u8 value) { return value > 1; })) {
    return fail(Errc::corrupt, "pci.config: a bad MSI-X entry");
  }
  bytes_ = state.bytes;
  for (auto i = std::size_t{0}; i < msix_entries_.size(); ++i) {
    msix_entries_[i] = {state.entries[i].address, state.entries[i].data, state.entries[i].control};
    msix_pending_[i] = state.pending[i] != 0;
  }
  return {};
}

}  // namespace vireo::bus
