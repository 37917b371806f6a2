#pragma once

#include <array>
#include <atomic>
#include <string_view>

#include "engine/soft/interp/cpu.h"
#include "engine/soft/local_apic_spec.h"
#include "state/saved.h"
#include "vocab/numbers.h"

namespace vireo::engine::soft {

/// An interrupt on its way to local APICs: from an ICR or from a device (SDM vol. 3, 11.6.2 and 11.11).
struct ApicMessage {
  apic::DeliveryMode mode{};
  u8 vector{};
  bool logical{};
  bool level{};     // trigger mode
  bool deassert{};  // INIT level de-assert: obsolete, ignored
  apic::Shorthand shorthand{};
  u32 destination{};
  bool broadcast{};  // physical destination "all"
  u32 source{~0u};   // the sending APIC, for shorthands
};

/// Decodes a message-signalled interrupt (11.11.1, 11.11.2).
ApicMessage decode_msi(u64 address, u32 data);

/// What surrounds a local APIC. Implemented by the engine's vCPU, and by tests.
class ApicSurroundings {
 public:
  virtual ~ApicSurroundings() = default;
  virtual u64 machine_tsc() const = 0;
  virtual u64 guest_tsc_offset() const = 0;  // guest TSC - machine TSC
  /// This APIC's vCPU has to look at its events. Any thread.
  virtual void notify() = 0;
  /// The timer was set anew. On the vCPU's thread.
  virtual void timer_changed() {}
  /// Sends to all APICs that the message names, this one perhaps among them.
  virtual void send(ApicMessage const& message) = 0;
  virtual void end_of_level_interrupt(u8 vector) = 0;
  virtual void kick_vcpu(u32 apic_id) = 0;
};

/// Everything of a local APIC that a guest can see. Times are in ticks of the machine's TSC.
struct LocalApicState {
  static constexpr std::string_view schema = "engine.local_apic";

  u64 base{};
  u32 tpr{}, ldr{}, dfr{apic::dfr_flat}, svr{0xff}, esr{}, esr_latched{};
  std::array<u32, 8> irr{}, isr{}, tmr{};
  u32 icr_low{}, icr_high{};
  std::array<u32, apic::lvt_count> lvt{};
  u32 initial_count{}, divide{};
  u64 timer_start{};   // when the running count was at initial_count; 0: not running
  u64 timer_next{};    // when it reaches zero
  u64 tsc_deadline{};  // guest TSC; 0: disarmed
  u32 signals{};
  u8 startup_vector{};

  static void fields(auto&& s, auto&& f) {
    f(1, "base", s.base);
    f(2, "tpr", s.tpr);
    f(3, "ldr", s.ldr);
    f(4, "dfr", s.dfr);
    f(5, "svr", s.svr);
    f(6, "esr", s.esr);
    f(7, "esr_latched", s.esr_latched);
    f(8, "irr", s.irr);
    f(9, "isr", s.isr);
    f(10, "tmr", s.tmr);
    f(11, "icr_low", s.icr_low);
    f(12, "icr_high", s.icr_high);
    f(13, "lvt", s.lvt);
    f(14, "initial_count", s.initial_count);
    f(15, "divide", s.divide);
    f(16, "timer_start", s.timer_start);
    f(17, "timer_next", s.timer_next);
    f(18, "tsc_deadline", s.tsc_deadline);
    f(19, "signals", s.signals);
    f(20, "startup_vector", s.startup_vector);
  }
};

/// One vCPU's local APIC in xAPIC and x2APIC mode. accept(), matches(), raise_signal() and set_extint() may
/// come from any thread; all else from the vCPU's thread, or from any while it is stopped.
class LocalApic final : public ApicPort {
 public:
  LocalApic(VcpuId id, ApicSurroundings& surroundings, u32 timer_ratio);

  void reset();  // power-up
  void init();   // INIT: all but base and id

  // ---- ApicPort ----
  u64 read_register(u32 offset) override;
  void write_register(u32 offset, u32 value) override;
  bool read_msr(u32 index, u64& value) override;
  bool write_msr(u32 index, u64 value) override;
  u64 cr8() const override { return state_.tpr >> 4; }
  void set_cr8(u64 value) override;
  bool interrupt_pending() const override;
  u64 register_page() const override;
  void send_ipi(u32 command, u32 destination) override;
  void kick(u32 apic_id) override { surroundings_.kick_vcpu(apic_id); }

  // ---- from the interrupt fabric, any thread ----
  enum Signal : u32 { signal_nmi = 1, signal_init = 2, signal_startup = 4, signal_kick = 8 };
  bool matches(ApicMessage const& message) const;
  void accept(ApicMessage const& message);
  void raise_signal(Signal signal);
  void set_extint(bool high);
  u8 priority() const {
    return priority_.load(std::memory_order_relaxed);
  }  // PPR, for lowest-priority arbitration

  // ---- for the vCPU loop ----
  u32 take_signals() { return signals_.exchange(0, std::memory_order_acquire); }
  u8 startup_vector() const { return startup_vector_.load(std::memory_order_relaxed); }
  /// Moves the best request into service and gives its vector; -1 when there is none above the processor's
  /// priority.
  int acknowledge();
  /// The 8259's line is high and reaches this processor (LINT0 in ExtINT mode, or the APIC disabled).
  bool extint_pending() const;
  /// Machine TSC at which poll_timer() has something to do; all ones: never.
  u64 timer_deadline() const;
  void poll_timer();

  state::Saved save() const;
  Result<> restore(state::Saved const& saved);

 private:
  bool enabled() const { return state_.base & apic::base_enabled; }
  bool x2apic() const { return state_.base & apic::base_x2apic; }
  int highest_request() const;
  int highest_in_service() const;
  u8 processor_priority() const;
  void priority_changed();
  void end_of_interrupt();
  void report_error(u32 bits);
  void deliver_local(u32 lvt);
  bool read_common(u32 offset, u32& value) const;
  void write_common(u32 offset, u32 value);
  bool write_base(u64 value);
  bool valid_base(u64 value) const;
  void publish_address();
  bool write_x2apic(u32 offset, u64 value);
  void write_lvt(apic::LvtIndex index, u32 value);
  void write_spurious(u32 value);
  void command(u32 low, u32 destination);
  u64 ticks_per_count() const;
  u32 current_count() const;
  void start_count(u32 count);
  void set_tsc_deadline(u64 deadline);
  u32 timer_mode() const { return state_.lvt[apic::lvt_timer] & apic::lvt_timer_mode; }

  VcpuId id_;
  ApicSurroundings& surroundings_;
  u32 timer_ratio_;       // TSC ticks per tick of the timer's clock (CPUID leaf 0x15)
  LocalApicState state_;  // irr, tmr, signals, startup_vector live in the atomics below
  std::array<std::atomic<u32>, 8> irr_{}, tmr_{};
  std::atomic<u32> signals_{};
  std::atomic<u8> startup_vector_{};
  std::atomic<bool> extint_{};
  std::atomic<u8> priority_{};
  struct Address {
    u32 ldr, dfr;
  };
  std::atomic<Address> address_{};  // what senders match against
  enum Mode : u8 { mode_off, mode_xapic, mode_x2apic };
  std::atomic<u8> mode_{};
  std::atomic<bool> software_enabled_{};
};

}  // namespace vireo::engine::soft
