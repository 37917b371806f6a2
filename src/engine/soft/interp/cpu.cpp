#include "engine/soft/interp/cpu.h"

#include <algorithm>
#include <mutex>

#include "x86/address.h"

namespace vireo::engine::soft {

namespace {

constexpr u64 cr3_keep{u64{1} << 63};

std::mutex split_access;

u8 physical_address_bits(x86::CpuidModel const& model) {
  auto const bits = static_cast<u8>(model.lookup(0x80000008, 0).eax);
  return bits >= 32 && bits <= 52 ? bits : u8{36};
}

PagingMode paging_mode(VcpuState const& state) {
  using Format = PagingMode::Format;
  if (!(state.cr0 & x86::cr0_pg)) return {};
  auto const pae = bool{(state.cr4 & x86::cr4_pae) != 0};
  auto const wide = pae || (state.efer & x86::efer_lma);
  return {.format = state.efer & x86::efer_lma ? Format::four_level
                    : pae                      ? Format::pae
                                               : Format::two_level,
          .write_protect = (state.cr0 & x86::cr0_wp) != 0,
          .no_execute = wide && (state.efer & x86::efer_nxe) != 0,
          .smep = (state.cr4 & x86::cr4_smep) != 0,
          .smap = (state.cr4 & x86::cr4_smap) != 0,
          .page_size_extension = (state.cr4 & x86::cr4_pse) != 0,
          .global_pages = (state.cr4 & x86::cr4_pge) != 0,
          .pcid = (state.cr4 & x86::cr4_pcide) != 0};
}

[[noreturn, gnu::cold]] void raise_segment_fault(bool stack) {
  raise(stack ? x86::Vector::ss : x86::Vector::gp, 0);
}

/// Data segments with the expand-down bit hold offsets above the limit.
bool expands_down(Segment const& segment) { return (segment.attributes & 0x1c) == 0x14; }
bool may_read(Segment const& segment) { return !(segment.type() & 8) || (segment.type() & 2); }
bool may_write(Segment const& segment) { return !(segment.type() & 8) && (segment.type() & 2); }

bool covers(Segment const& segment, u64 offset, std::size_t length) {
  auto const last = offset + length - 1;
  if (!expands_down(segment)) return last <= segment.limit;
  auto const top = segment.big() ? u64{0xffffffff} : u64{0xffff};
  return offset > segment.limit && last <= top;
}

}  // namespace

SplitLock::SplitLock(Cpu& cpu, bool take) : taken{take} {
  if (!taken) return;
  auto const out = Cpu::OutOfCode{cpu};
  split_access.lock();
}
SplitLock::~SplitLock() {
  if (taken) split_access.unlock();
}

Cpu::Cpu(VcpuId id, MachineView& machine, x86::CpuidModel const& model)
    : state{reset_state(id == VcpuId{0})},
      mmu{machine.memory(), physical_address_bits(model), model.has(x86::Feature::pdpe1gb)},
      id_{id},
      machine_{machine},
      model_{model} {
  update_mode();
}

void Cpu::follow_code(CodePages* pages, Rendezvous::Member* member) {
  code_pages_ = pages;
  member_ = member;
  mmu.follow_code(pages, member);
}

void Cpu::update_rights() {
  auto const smap_off = !(state.cr4 & x86::cr4_smap) || !(state.cr0 & x86::cr0_pg);
  auto const allowed = (state.rflags & x86::flag_ac) != 0;
  rights_ = cpl_ == 3 ? Rights::user : !smap_off && allowed ? Rights::supervisor_ac : Rights::supervisor;
  mmu.set_data_rights(rights_);
  auto const checks = cpl_ == 3 && allowed && (state.cr0 & x86::cr0_am);
  if (checks == alignment_checks_) return;
  alignment_checks_ = checks;
  update_mode();
}

void Cpu::update_mode() {
  using x86::CodeSize;
  auto const protection = (state.cr0 & x86::cr0_pe) != 0;
  protected_mode_ = protection && !virtual8086();
  cpl_ = !protection ? u8{0} : virtual8086() ? u8{3} : state.ss().dpl();
  auto const is_code64 = long_mode() && state.cs().long_mode();
  code_size_ = is_code64 ? CodeSize::bits64 : state.cs().big() ? CodeSize::bits32 : CodeSize::bits16;
  stack_address_size_ = is_code64 ? u8{8} : state.ss().big() ? u8{4} : u8{2};
  mmu.set_mode(paging_mode(state), state.cr3);

  alignment_checks_ = cpl_ == 3 && (state.rflags & x86::flag_ac) && (state.cr0 & x86::cr0_am);
  update_rights();

  unchecked_reads_ = unchecked_writes_ = 0;
  if (is_code64) {
    base_.fill(0);
    for (auto const segment : {SegmentRegister::fs, SegmentRegister::gs}) {
      base_[static_cast<u8>(segment)] = state.seg(segment).base;
    }
    if (!alignment_checks_) unchecked_reads_ = unchecked_writes_ = 0x3f;
    return;
  }
  for (auto i = u8{}; i < 6; ++i) {
    auto const& segment = state.segment[i];
    base_[i] = segment.base;
    auto const flat = segment.base == 0 && segment.limit == 0xffffffff && !expands_down(segment) &&
                      !segment.unusable() && !alignment_checks_;
    auto const bit = static_cast<u8>(1u << i);
    if (flat && (!protected_mode_ || may_read(segment))) unchecked_reads_ |= bit;
    if (flat && (!protected_mode_ || may_write(segment))) unchecked_writes_ |= bit;
  }
}

void Cpu::set_segment_base(SegmentRegister segment, u64 base) {
  state.seg(segment).base = base;
  if (code64() && segment >= SegmentRegister::fs)
    base_[static_cast<u8>(segment)] = base;
  else
    update_mode();
}

void Cpu::set_cr3(u64 value) {
  auto const mode = paging_mode(state);
  auto const keep = mode.pcid && (value & cr3_keep);
  auto const cr3 = mode.pcid ? value & ~cr3_keep : value;
  if (mode.format == PagingMode::Format::pae && !mmu.pdptes_valid(cr3)) raise_gp();
  state.cr3 = cr3;
  mmu.set_cr3(cr3, keep);
}

u64 Cpu::linear(SegmentRegister segment, u64 offset, std::size_t length, Access access) {
  auto const stack = segment == SegmentRegister::ss;
  if (code64()) {
    auto const address = base_[static_cast<u8>(segment)] + offset;
    if (!x86::is_canonical(address) || !x86::is_canonical(address + length - 1)) raise_segment_fault(stack);
    return address;
  }
  auto const& hidden = state.seg(segment);
  if (protected_mode_) {
    if (hidden.unusable()) raise_segment_fault(stack);
    auto const allowed =
        access == Access::write ? may_write(hidden) : access == Access::execute || may_read(hidden);
    if (!allowed) raise_segment_fault(stack);
  }
  if (length != 0 && !covers(hidden, offset, length)) raise_segment_fault(stack);
  return static_cast<u32>(hidden.base + offset);
}

u64 Cpu::end_of(SegmentRegister segment, Access access) const {
  auto const& hidden = state.seg(segment);
  if (expands_down(hidden) || alignment_checks_) return 0;
  if (protected_mode_ && hidden.unusable()) return 0;
  if (protected_mode_ && !(access == Access::write ? may_write(hidden) : may_read(hidden))) return 0;
  return u64{hidden.limit} + 1;
}

void Cpu::check_alignment(u64 address, std::size_t size) {
  if (address & (size - 1)) raise(x86::Vector::ac, 0);
}

namespace {
/// What #AC asks of an operand of the x87, MMX and SSE (SDM vol. 3, table 6-7); whole vectors may lie anywhere.
std::size_t checked_alignment(std::size_t length) {
  switch (length) {
    case 2:
    case 4:
    case 8: return length;
    case 10: return 8;
    case 14:
    case 94: return 2;
    case 28:
    case 108: return 4;
    default: return 1;
  }
}
}  // namespace

u64 Cpu::checked_linear(SegmentRegister segment, u64 offset, std::size_t length, Access access) {
  auto const address = linear(segment, offset, length, access);
  if (alignment_checks_) check_alignment(address, checked_alignment(length));
  return address;
}

void Cpu::probe_write(SegmentRegister segment, u64 offset, std::size_t length) {
  if (length == 0) return;
  auto const address = checked_linear(segment, offset, length, Access::write);
  locate(address, static_cast<u32>(length), Access::write, origin(segment));
}

// ---- slow paths ----

Cpu::Places Cpu::locate(u64 address, u32 length, Access access, Origin from) {
  auto const last = address + length - 1;
  if (long_mode() && (!x86::is_canonical(address) || !x86::is_canonical(last))) raise_segment_fault(from.stack);
  auto places = Places{};
  auto const first = mmu.translate(address, access, from.rights);
  auto const left = static_cast<u32>(page_size - (address & ~page_mask));
  places.first = {first.physical, first.host, std::min(length, left), first.watched};
  if (length <= left) return places;
  auto const next = (address & page_mask) + page_size;
  auto const second = mmu.translate(long_mode() ? next : static_cast<u32>(next), access, from.rights);
  places.second = {second.physical, second.host, length - left, true};
  places.first.watched = true;  // a device may come in between, where tags get lost
  return places;
}

void Cpu::read_slow(u64 address, void* into, u32 length, Origin from) {
  auto const places = locate(address, length, Access::read, from);
  auto* const to = static_cast<std::byte*>(into);
  read_place(places.first, to);
  read_place(places.second, to + places.first.length);
}

void Cpu::write_slow(u64 address, void const* from, u32 length, Origin origin) {
  auto const places = locate(address, length, Access::write, origin);
  auto const* const bytes = static_cast<std::byte const*>(from);
  write_place(places.first, bytes);
  write_place(places.second, bytes + places.first.length);
}

namespace {
/// The widest access to a device that is aligned and fits: 8, 4, 2 or 1. A whole access of such a width stays
/// whole.
u8 device_width(u64 physical, u32 left, u32 whole) {
  if (left == whole && (whole == 1 || whole == 2 || whole == 4 || whole == 8)) return static_cast<u8>(whole);
  for (auto width = u8{8}; width > 1; width = static_cast<u8>(width / 2)) {
    if (left >= width && physical % width == 0) return width;
  }
  return 1;
}
}  // namespace

void Cpu::read_place(Place const& place, std::byte* into) {
  if (place.host != nullptr) {
    std::memcpy(into, place.host, place.length);
    return;
  }
  for (auto done = u32{}; done < place.length;) {
    auto const width = device_width(place.physical + done, place.length - done, place.length);
    auto const value = read_device(place.physical + done, width);
    std::memcpy(into + done, &value, width);
    done += width;
  }
}

void Cpu::write_place(Place const& place, std::byte const* from) {
  if (place.host != nullptr) {
    note_store(place.host);
    if (place.length != 0) note_store(place.host + place.length - 1);
    std::memcpy(place.host, from, place.length);
    if (place.watched && place.length != 0) note_slow_store(place.host, place.length);
    return;
  }
  for (auto done = u32{}; done < place.length;) {
    auto const width = device_width(place.physical + done, place.length - done, place.length);
    auto value = u64{};
    std::memcpy(&value, from + done, width);
    write_device(place.physical + done, width, value);
    done += width;
  }
}

u64 Cpu::read_device(u64 physical, u8 width) {
  if (apic == nullptr || (physical & page_mask) != apic->register_page()) {
    auto const out = OutOfCode{*this};
    return machine_.read_mmio(Gpa{physical}, width);
  }
  auto const offset = static_cast<u32>(physical & 0xfff);
  auto const low = apic->read_register(offset & ~3u);
  auto const both = width == 8 ? low | apic->read_register((offset & ~3u) + 4) << 32 : low;
  return both >> (offset & 3) * 8;
}

void Cpu::write_device(u64 physical, u8 width, u64 value) {
  if (apic == nullptr || (physical & page_mask) != apic->register_page()) {
    auto const out = OutOfCode{*this};
    return machine_.write_mmio(Gpa{physical}, width, value);
  }
  auto const offset = static_cast<u32>(physical & 0xfff);
  if (offset & 3) return;  // SDM vol. 3, 11.4.1: aligned 32-bit accesses only
  apic->write_register(offset, static_cast<u32>(value));
}

u8 Cpu::fetch_mmio(u64 linear_rip) {
  auto const rights = cpl_ == 3 ? Rights::user : Rights::supervisor;
  auto const place = locate(linear_rip, 1, Access::execute, {rights, false}).first;
  auto byte = std::byte{};
  read_place(place, &byte);
  return static_cast<u8>(byte);
}

}  // namespace vireo::engine::soft
