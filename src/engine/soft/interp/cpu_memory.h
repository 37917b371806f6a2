#pragma once

// The hot paths of Cpu: inline TLB hits. Included by cpu.h only.

#include <cstring>
#include <type_traits>

#include "engine/soft/interp/cpu.h"
#include "vocab/bytes.h"

namespace vireo::engine::soft {

inline u64 Cpu::effective_address(x86::Instruction const& insn) const {
  auto const& memory = insn.memory;
  auto address = static_cast<u64>(memory.displacement);
  if (memory.base != x86::no_register) address += state.gpr[memory.base];
  if (memory.index != x86::no_register) address += state.gpr[memory.index] * memory.scale;
  if (memory.rip_relative) address += state.rip;
  if (insn.address_size == 8) return address;
  return insn.address_size == 4 ? static_cast<u32>(address) : static_cast<u16>(address);
}

// ---- by linear address ----

template <typename T>
[[gnu::always_inline]] inline T Cpu::read_at(u64 address, Origin from) {
  static_assert(std::is_trivially_copyable_v<T> && sizeof(T) <= 64);
  auto const& entry = mmu.entry(from.rights, address);
  if (in_page(entry.read, address, sizeof(T))) [[likely]] {
    // SOUND: the tag says that the whole access lies in the page of guest memory at entry.page.
    return load_le<T>(reinterpret_cast<void const*>(entry.page + address % page_size));
  }
  T value;
  read_slow(address, &value, sizeof(T), from);
  return value;
}

template <typename T>
[[gnu::always_inline]] inline void Cpu::write_at(u64 address, T value, Origin from) {
  static_assert(std::is_trivially_copyable_v<T> && sizeof(T) <= 64);
  auto const& entry = mmu.write_entry(from.rights, address);
  if (in_page(entry.tag, address, sizeof(T))) [[likely]] {
    // SOUND: as in read_at, and the page is RAM that these rights may write.
    auto* const host = reinterpret_cast<std::byte*>(address + entry.distance);
    note_store(host);
    return store_le<T>(host, value);
  }
  write_slow(address, &value, sizeof(T), from);
}

template <typename T>
T Cpu::read_linear(u64 address, bool supervisor) {
  return read_at<T>(address, {supervisor ? Rights::supervisor : rights_, false});
}
template <typename T>
void Cpu::write_linear(u64 address, T value, bool supervisor) {
  write_at<T>(address, value, {supervisor ? Rights::supervisor : rights_, false});
}

// ---- through a segment ----

template <typename T>
[[gnu::noinline]] T Cpu::read_missed(x86::SegmentRegister segment, u64 offset) {
  if (unchecked(segment, unchecked_reads_)) {
    T value;
    read_slow(base_[static_cast<u8>(segment)] + offset, &value, sizeof(T), origin(segment));
    return value;
  }
  auto const address = linear(segment, offset, sizeof(T), Access::read);
  if (alignment_checks_) check_alignment(address, sizeof(T));
  return read_at<T>(address, origin(segment));
}

template <typename T>
[[gnu::noinline]] void Cpu::write_missed(x86::SegmentRegister segment, u64 offset, T value) {
  if (unchecked(segment, unchecked_writes_)) {
    return write_slow(base_[static_cast<u8>(segment)] + offset, &value, sizeof(T), origin(segment));
  }
  auto const address = linear(segment, offset, sizeof(T), Access::write);
  if (alignment_checks_) check_alignment(address, sizeof(T));
  write_at<T>(address, value, origin(segment));
}

template <typename T>
[[gnu::always_inline]] inline T Cpu::read(x86::SegmentRegister segment, u64 offset) {
  static_assert(std::is_trivially_copyable_v<T> && sizeof(T) <= 64);
  if (unchecked(segment, unchecked_reads_)) [[likely]] {
    auto const address = base_[static_cast<u8>(segment)] + offset;
    auto const& entry = mmu.data_entry(address);
    if (in_page(entry.read, address, sizeof(T))) [[likely]] {
      // SOUND: as in read_at.
      return load_le<T>(reinterpret_cast<void const*>(entry.page + address % page_size));
    }
  }
  return read_missed<T>(segment, offset);
}

template <typename T>
[[gnu::always_inline]] inline void Cpu::write(x86::SegmentRegister segment, u64 offset, T value) {
  static_assert(std::is_trivially_copyable_v<T> && sizeof(T) <= 64);
  if (unchecked(segment, unchecked_writes_)) [[likely]] {
    auto const address = base_[static_cast<u8>(segment)] + offset;
    auto const& entry = mmu.data_write_entry(address);
    if (in_page(entry.tag, address, sizeof(T))) [[likely]] {
      // SOUND: as in write_at.
      auto* const host = reinterpret_cast<std::byte*>(address + entry.distance);
      note_store(host);
      return store_le<T>(host, value);
    }
  }
  write_missed<T>(segment, offset, value);
}

/// `host` holds sizeof(T) bytes of guest RAM; u128 is 16-byte aligned.
template <typename T, typename F>
[[gnu::always_inline]] inline T Cpu::modify_host(std::byte* host, bool locked, F& f) {
  auto old = load_le<T>(host);
  if (!locked) {
    store_le<T>(host, f(old));
    return old;
  }
  // SOUND: the host's LOCK CMPXCHG works on any alignment, as the guest's LOCK does, and is atomic against all
  // other vCPUs, which use the same.
  if constexpr (sizeof(T) == 16) {
    for (;;) {
      auto const wanted = f(old);
      auto low = static_cast<u64>(old), high = static_cast<u64>(old >> 64);
      bool done;
      asm volatile("lock cmpxchg16b (%[at])"
                   : "+a"(low), "+d"(high), "=@ccz"(done)
                   : [at] "r"(host), "b"(static_cast<u64>(wanted)), "c"(static_cast<u64>(wanted >> 64))
                   : "memory");
      if (done) return old;
      old = u128{high} << 64 | low;
    }
  } else {
    for (;;) {
      auto const wanted = static_cast<T>(f(old));
      auto found = old;
      bool done;
      asm volatile("lock cmpxchg %[wanted], (%[at])"
                   : "+a"(found), "=@ccz"(done)
                   : [at] "r"(host), [wanted] "q"(wanted)
                   : "memory");
      if (done) return old;
      old = found;
    }
  }
}

template <typename T, typename F>
[[gnu::always_inline]] inline T Cpu::modify(x86::SegmentRegister segment, u64 offset, bool locked, F&& f) {
  if (unchecked(segment, unchecked_writes_)) [[likely]] {
    auto const address = base_[static_cast<u8>(segment)] + offset;
    auto const& entry = mmu.data_write_entry(address);
    if (in_page(entry.tag, address, sizeof(T))) [[likely]] {
      // SOUND: as in write_at.
      auto* const host = reinterpret_cast<std::byte*>(address + entry.distance);
      note_store(host);
      return modify_host<T>(host, locked, f);
    }
  }
  return modify_missed<T>(segment, offset, locked, f);
}

/// Locked accesses that cross a page or go to a device; against each other only.
struct SplitLock {
  bool taken;
  SplitLock(Cpu& cpu, bool take);
  ~SplitLock();
  SplitLock(SplitLock const&) = delete;
  SplitLock& operator=(SplitLock const&) = delete;
};

template <typename T, typename F>
[[gnu::noinline]] T Cpu::modify_missed(x86::SegmentRegister segment, u64 offset, bool locked, F& f) {
  auto address = base_[static_cast<u8>(segment)] + offset;
  if (!unchecked(segment, unchecked_writes_)) {
    address = linear(segment, offset, sizeof(T), Access::write);
    if (alignment_checks_) check_alignment(address, sizeof(T));
  }
  auto const places = locate(address, sizeof(T), Access::write, origin(segment));
  if (places.second.length == 0 && places.first.host != nullptr) {
    note_store(places.first.host);
    auto const modified = modify_host<T>(places.first.host, locked, f);
    if (places.first.watched) note_slow_store(places.first.host, sizeof(T));
    return modified;
  }
  auto const lock = SplitLock{*this, locked};
  T old;
  auto bytes = std::array<std::byte, sizeof(T)>{};
  read_place(places.first, bytes.data());
  read_place(places.second, bytes.data() + places.first.length);
  std::memcpy(&old, bytes.data(), sizeof old);
  auto const wanted = static_cast<T>(f(old));
  std::memcpy(bytes.data(), &wanted, sizeof wanted);
  write_place(places.first, bytes.data());
  write_place(places.second, bytes.data() + places.first.length);
  return old;
}

[[gnu::always_inline]] inline void const* Cpu::readable(x86::SegmentRegister segment, u64 offset,
                                                        std::size_t length) const {
  if (!unchecked(segment, unchecked_reads_)) [[unlikely]]
    return nullptr;
  auto const address = base_[static_cast<u8>(segment)] + offset;
  auto const& entry = mmu.data_entry(address);
  if (!in_page(entry.read, address, length)) [[unlikely]]
    return nullptr;
  // SOUND: as in read_at.
  return reinterpret_cast<void const*>(entry.page + address % page_size);
}

[[gnu::always_inline]] inline void* Cpu::writable(x86::SegmentRegister segment, u64 offset,
                                                  std::size_t length) const {
  if (!unchecked(segment, unchecked_writes_)) [[unlikely]]
    return nullptr;
  auto const address = base_[static_cast<u8>(segment)] + offset;
  auto const& entry = mmu.data_write_entry(address);
  if (!in_page(entry.tag, address, length)) [[unlikely]]
    return nullptr;
  // SOUND: as in write_at; addresses are compared only.
  auto const host = address + entry.distance;
  if (host - reinterpret_cast<u64>(code_page_host) < page_size) [[unlikely]]
    return nullptr;
  return reinterpret_cast<void*>(host);
}

inline void Cpu::read_bytes(x86::SegmentRegister segment, u64 offset, void* into, std::size_t length) {
  if (length == 0) return;
  auto const address = unchecked(segment, unchecked_reads_)
                           ? base_[static_cast<u8>(segment)] + offset
                           : checked_linear(segment, offset, length, Access::read);
  auto const& entry = mmu.data_entry(address);
  if (length <= page_size && in_page(entry.read, address, length)) [[likely]] {
    // SOUND: as in read_at.
    std::memcpy(into, reinterpret_cast<void const*>(entry.page + address % page_size), length);
    return;
  }
  read_slow(address, into, static_cast<u32>(length), origin(segment));
}

inline void Cpu::write_bytes(x86::SegmentRegister segment, u64 offset, void const* from, std::size_t length) {
  if (length == 0) return;
  auto const address = unchecked(segment, unchecked_writes_)
                           ? base_[static_cast<u8>(segment)] + offset
                           : checked_linear(segment, offset, length, Access::write);
  auto const& entry = mmu.data_write_entry(address);
  if (length <= page_size && in_page(entry.tag, address, length)) [[likely]] {
    // SOUND: as in write_at.
    auto* const host = reinterpret_cast<std::byte*>(address + entry.distance);
    note_store(host);
    std::memcpy(host, from, length);
    return;
  }
  write_slow(address, from, static_cast<u32>(length), origin(segment));
}

inline Cpu::CodeBytes Cpu::code_at(u64 linear_rip) {
  auto const rights = cpl_ == 3 ? Rights::user : Rights::supervisor;
  auto const left = static_cast<u32>(page_size - (linear_rip & ~page_mask));
  auto const& entry = mmu.entry(rights, linear_rip);
  if (in_page(entry.execute, linear_rip, 1)) [[likely]] {
    // SOUND: the tag says that this page lies in guest memory.
    return {reinterpret_cast<u8 const*>(entry.page + linear_rip % page_size), left};
  }
  auto const place = locate(linear_rip, 1, Access::execute, {rights, false}).first;
  // SOUND: bytes of guest memory seen as u8.
  return {reinterpret_cast<u8 const*>(place.host), place.host != nullptr ? left : 0};
}

// ---- stack ----

[[gnu::always_inline]] inline void Cpu::push(u64 value, u8 size) {
  auto top = state.gpr[x86::rsp] - size;
  auto const kept = state.gpr[x86::rsp];
  if (stack_address_size_ == 4) top = static_cast<u32>(top);
  if (stack_address_size_ == 2) top = static_cast<u16>(top);
  if (size == 8)
    write<u64>(SegmentRegister::ss, top, value);
  else if (size == 4)
    write<u32>(SegmentRegister::ss, top, static_cast<u32>(value));
  else
    write<u16>(SegmentRegister::ss, top, static_cast<u16>(value));
  state.gpr[x86::rsp] = stack_address_size_ == 2 ? (kept & ~u64{0xffff}) | top : top;
}

[[gnu::always_inline]] inline u64 Cpu::peek(u64 depth, u8 size) {
  auto at = state.gpr[x86::rsp] + depth;
  if (stack_address_size_ == 4) at = static_cast<u32>(at);
  if (stack_address_size_ == 2) at = static_cast<u16>(at);
  if (size == 8) return read<u64>(SegmentRegister::ss, at);
  if (size == 4) return read<u32>(SegmentRegister::ss, at);
  return read<u16>(SegmentRegister::ss, at);
}

[[gnu::always_inline]] inline u64 Cpu::pop(u8 size) {
  auto const value = peek(0, size);
  auto const kept = state.gpr[x86::rsp];
  auto const top = kept + size;
  if (stack_address_size_ == 8)
    state.gpr[x86::rsp] = top;
  else if (stack_address_size_ == 4)
    state.gpr[x86::rsp] = static_cast<u32>(top);
  else
    state.gpr[x86::rsp] = (kept & ~u64{0xffff}) | static_cast<u16>(top);
  return value;
}

}  // namespace vireo::engine::soft
