#include "engine/soft/paravirt.h"

#include <sched.h>

#include <atomic>
#include <bit>

namespace vireo::engine::soft::paravirt {
namespace {

using U64InWords [[gnu::aligned(4)]] = u64;
struct TimeInfo {  // pvclock_vcpu_time_info, 4-byte aligned
  u32 version, padding;
  U64InWords tsc_timestamp, system_time;
  u32 multiplier;
  i8 shift;
  u8 flags;
  u8 padding2[2];
};
static_assert(sizeof(TimeInfo) == 32 && alignof(TimeInfo) == 4);
struct WallClock {
  u32 version, seconds, nanoseconds;
};
struct StealTime {
  u64 steal;
  u32 version, flags;
  u8 preempted;
  u8 padding[47];
};
static_assert(sizeof(StealTime) == 64);

constexpr u64 enabled{1};
constexpr u8 time_stable{1};
constexpr u8 preempted_bit{1}, flush_tlb_bit{2};
constexpr u64 second_ns{1'000'000'000};

template <typename T>
T* record(Cpu& cpu, u64 at) {
  if (at % alignof(T) != 0) return nullptr;
  // SOUND: host() gives sizeof(T) bytes of guest RAM, which outlives the vCPU; the guest writes them too, so
  // only single aligned loads and stores are relied upon, ordered by the version counter.
  return reinterpret_cast<T*>(cpu.machine().memory().host(Gpa{at}, sizeof(T), true));
}

template <typename T>
void note_store(Cpu& cpu, T const* at) {
  // SOUND: the bytes of a record, for their address alone.
  cpu.note_slow_store(reinterpret_cast<std::byte const*>(at), sizeof(T));
}

// The version is odd while a record changes.
template <typename T, typename F>
void update(Cpu& cpu, T* at, F&& change) {
  auto version = std::atomic_ref<u32>{at->version};
  auto const before = version.load(std::memory_order_relaxed) | 1;
  version.store(before, std::memory_order_relaxed);
  std::atomic_thread_fence(std::memory_order_release);
  change(*at);
  version.store(before + 1, std::memory_order_release);
  note_store(cpu, at);
}

void publish_wall_clock(Cpu& cpu, u64 at) {
  auto* const clock = record<WallClock>(cpu, at);
  if (clock == nullptr) return;
  auto const epoch = cpu.machine().wall_clock_ns() - cpu.machine().now_ns();  // when the system time was 0
  update(cpu, clock, [&](WallClock& to) {
    to.seconds = static_cast<u32>(epoch / second_ns);
    to.nanoseconds = static_cast<u32>(epoch % second_ns);
  });
}

}  // namespace

void publish_time(Cpu& cpu) {
  auto const value = cpu.state.kvm_system_time;
  if (!(value & enabled)) return;
  auto* const time = record<TimeInfo>(cpu, value & ~enabled);
  if (time == nullptr) return;
  auto const& tsc = host_tsc_description();
  update(cpu, time, [&](TimeInfo& to) {
    to.tsc_timestamp = cpu.clock_tsc + cpu.state.tsc_offset;
    to.system_time = cpu.clock_ns;
    to.multiplier = tsc.nanoseconds_multiplier;
    to.shift = tsc.shift;
    to.flags = time_stable;
  });
}

bool read_msr(Cpu const& cpu, u32 index, u64& value) {
  auto const& state = cpu.state;
  switch (index) {
    case msr_wall_clock_old:
    case msr_wall_clock: value = state.kvm_wall_clock; return true;
    case msr_system_time_old:
    case msr_system_time: value = state.kvm_system_time; return true;
    case msr_async_pf: value = state.kvm_async_pf; return true;
    case msr_steal_time: value = state.kvm_steal_time; return true;
    case msr_eoi: value = state.kvm_eoi; return true;
    case msr_poll_control: value = state.kvm_poll_control; return true;
    default: return false;
  }
}

bool write_msr(Cpu& cpu, u32 index, u64 value) {
  auto& state = cpu.state;
  switch (index) {
    case msr_wall_clock_old:
    case msr_wall_clock:
      state.kvm_wall_clock = value;
      publish_wall_clock(cpu, value);
      return true;
    case msr_system_time_old:
    case msr_system_time:
      state.kvm_system_time = value;
      publish_time(cpu);
      return true;
    case msr_async_pf:
      if (value & enabled) return false;  // not offered
      state.kvm_async_pf = value;
      return true;
    case msr_steal_time:
      if (value & 0x3e) return false;
      state.kvm_steal_time = value;
      mark_running(cpu);
      return true;
    case msr_eoi:
      if (value & 2) return false;
      state.kvm_eoi = value;
      return true;
    case msr_poll_control:
      if (value & ~enabled) return false;
      state.kvm_poll_control = value;
      return true;
    default: return false;
  }
}

namespace {

StealTime* steal_record(Cpu& cpu) {
  auto const value = cpu.state.kvm_steal_time;
  return value & enabled ? record<StealTime>(cpu, value & ~u64{0x3f}) : nullptr;
}

}  // namespace

void mark_preempted(Cpu& cpu) {
  auto* const steal = steal_record(cpu);
  if (steal == nullptr) return;
  std::atomic_ref{steal->preempted}.store(preempted_bit, std::memory_order_release);
  note_store(cpu, steal);
}

bool mark_running(Cpu& cpu) {
  auto* const steal = steal_record(cpu);
  if (steal == nullptr) return false;
  auto const before = std::atomic_ref{steal->preempted}.exchange(0, std::memory_order_acq_rel);
  note_store(cpu, steal);
  return before & flush_tlb_bit;
}

void add_stolen_time(Cpu& cpu, u64 ns) {
  auto* const steal = steal_record(cpu);
  if (steal != nullptr) update(cpu, steal, [&](StealTime& to) { to.steal += ns; });
}

// ---- hypercalls ----

namespace {

enum Call : u64 {
  call_poll_irq = 1,
  call_kick = 5,
  call_clock_pairing = 9,
  call_send_ipi = 10,
  call_yield = 11
};
constexpr auto error(i64 number) { return static_cast<u64>(-number); }
constexpr i64 not_permitted{1}, invalid{22}, not_supported{95}, no_such_call{1000};

u64 send_ipis(Cpu& cpu, u64 low, u64 high, u32 first, u32 command) {
  auto const mode = (command >> 8) & 7;
  if (mode != 0 && mode != 4) return error(invalid);  // fixed or NMI
  auto sent = u64{0};
  auto const send = [&](u64 bitmap, u32 base) {
    for (; bitmap != 0; bitmap &= bitmap - 1, ++sent) {
      cpu.apic->send_ipi(command, base + static_cast<u32>(std::countr_zero(bitmap)));
    }
  };
  send(low, first);
  send(high, first + 64);
  return sent;
}

}  // namespace

u64 hypercall(Cpu& cpu, u64 number, u64 a0, u64 a1, u64 a2, u64 a3) {
  if (cpu.cpl() != 0) return error(not_permitted);
  if (cpu.apic == nullptr) return error(no_such_call);
  switch (number) {
    case call_poll_irq: return 0;
    case call_kick: cpu.apic->kick(static_cast<u32>(a1)); return 0;
    case call_clock_pairing: return error(not_supported);
    case call_send_ipi: return send_ipis(cpu, a0, a1, static_cast<u32>(a2), static_cast<u32>(a3));
    case call_yield: sched_yield(); return 0;
    default: return error(no_such_call);
  }
}

}  // namespace vireo::engine::soft::paravirt
