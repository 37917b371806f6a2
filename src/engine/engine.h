#pragma once

#include <functional>
#include <memory>
#include <vector>

#include "engine/counter.h"
#include "engine/machine_view.h"
#include "engine/vcpu_state.h"
#include "state/saved.h"
#include "vocab/result.h"
#include "x86/cpuid_model.h"

namespace vireo::engine {

/// How the software engine runs guest code. `verify` runs each block of translated code and then the same
/// instructions in the interpreter, from the same state; a difference is reported and ends the machine.
enum class Tier : u8 { translate, interpret, verify };

struct EngineConfig {
  u32 vcpus{1};
  x86::CpuidModel model;  // what CPUID answers, the same on every engine
  Tier tier{Tier::translate};
  u64 code_cache{64 * MiB};  // bytes of translated code, for all vCPUs together
};

/// A virtual processor complex: vCPUs with their local APICs. reset(), state access, save and restore only
/// while stopped; interrupt inputs on any thread at any time.
class Engine {
 public:
  virtual ~Engine() = default;  // stops first

  /// Lets every vCPU run on a thread of its own.
  virtual void start() = 0;
  /// On return no vCPU executes; each stands at an instruction boundary.
  virtual void stop() = 0;
  virtual void reset() = 0;

  virtual u32 vcpu_count() const = 0;
  virtual VcpuState vcpu_state(VcpuId id) const = 0;
  virtual Result<> set_vcpu_state(VcpuId id, VcpuState const& state) = 0;
  virtual state::Saved save_apic(VcpuId id) const = 0;
  virtual Result<> restore_apic(VcpuId id, state::Saved const& saved) = 0;

  /// Runs `change`, which changes what guest-physical addresses show (GuestMemory::set_windows), while no vCPU
  /// executes; none uses what it knew of them before. Any thread that holds the executor; also within a
  /// register access.
  virtual void change_memory(std::function<void()> const& change) = 0;

  /// A message-signalled interrupt, from a device or the IOAPIC (SDM vol. 3, 11.11.1).
  virtual void deliver_msi(u64 address, u32 data) = 0;
  /// The 8259's INTR output, wired to LINT0 of the bootstrap processor.
  virtual void set_extint(bool high) = 0;
  virtual void inject_nmi(VcpuId id) = 0;

  /// For the inspect tree and `--trace counters`; while stopped.
  virtual std::vector<Counter> counters(VcpuId id) const = 0;
  /// How many instructions the interpreter has executed on all vCPUs: all that ran in the tiers `interpret` and
  /// `verify`; what was left to it in the tier `translate`, which does not count its own.
  virtual u64 instructions_interpreted() const = 0;
};

Result<std::unique_ptr<Engine>> create_software_engine(EngineConfig const& config, MachineView& machine);

}  // namespace vireo::engine
