#pragma once

#include <thread>

#include "engine/counter.h"
#include "engine/soft/code_pages.h"
#include "engine/soft/interp/cpu.h"
#include "engine/soft/interp/run_loop.h"
#include "engine/soft/local_apic.h"
#include "engine/soft/rendezvous.h"
#include "engine/soft/translate/translator.h"

namespace vireo::engine::soft {

/// The way between local APICs, and what vCPUs share.
class ApicFabric {
 public:
  virtual ~ApicFabric() = default;
  virtual void route(ApicMessage const& message) = 0;
  virtual void kick(u32 apic_id) = 0;
};

/// One vCPU of the software engine: processor, local APIC and the thread on which both run. start() to stop()
/// bracket the thread's life; in between only notify(), apic()'s any-thread part and instructions() may be
/// called from outside.
class Vcpu final : private ApicSurroundings, private PageListener {
 public:
  Vcpu(VcpuId id, MachineView& machine, x86::CpuidModel const& model, ApicFabric& fabric, CodePages& pages,
       u32 apic_timer_ratio);
  ~Vcpu() override { stop(); }
  /// Before the first start: runs translated code, out of a cache of that many bytes; `verify` compares it.
  Result<> use_translator(u64 cache_bytes, bool verify);

  struct ClockBase {
    u64 machine_tsc_offset, tsc, ns;  // Cpu::machine_tsc_offset, clock_tsc, clock_ns
  };
  void start(ClockBase const& clock);
  void request_stop();
  void stop();

  /// `machine_tsc` is what the machine's TSC will be at the next start.
  void reset(u64 machine_tsc);
  Result<> set_state(VcpuState const& state);
  void forget_translations();
  VcpuState const& state() const { return cpu_.state; }
  LocalApic& apic() { return apic_; }
  LocalApic const& apic() const { return apic_; }
  VcpuId id() const { return cpu_.id(); }
  std::vector<Counter> counters() const;
  u64 instructions() const { return __atomic_load_n(&cpu_.instructions, __ATOMIC_RELAXED); }

 private:
  // ---- ApicSurroundings ----
  u64 machine_tsc() const override;
  u64 guest_tsc_offset() const override { return cpu_.state.tsc_offset; }
  void notify() override;
  void timer_changed() override { cpu_.request_attention(attention_events); }
  void send(ApicMessage const& message) override { fabric_.route(message); }
  void end_of_level_interrupt(u8 vector) override;
  void kick_vcpu(u32 apic_id) override { fabric_.kick(apic_id); }

  // ---- PageListener ----
  void drop_code(std::byte* page) override;
  void drop_write_tags(std::byte* page) override { cpu_.mmu.drop_write_tags(page); }
  void forget_mappings() override { cpu_.mmu.flush_all(); }
  void wanted() override { cpu_.request_attention(attention_code); }

  void run();
  void take_signals();
  void enter_init();
  void enter_startup(u8 vector);
  [[nodiscard]] bool deliver_pending();  // false: shutdown
  int next_interrupt();
  void wait(u64 deadline);
  void wait_for_stop(RunExit exit);
  void wake();
  RunExit run_guest();

  Cpu cpu_;
  Rendezvous::Member member_;
  ApicFabric& fabric_;
  LocalApic apic_;
  Interpreter interpreter_;
  std::unique_ptr<translate::Translator> translator_;
  std::atomic<bool> asleep_{};
  bool kicked_{};
  std::thread thread_;
};

}  // namespace vireo::engine::soft
