#include <fmt/format.h>

#include <algorithm>
#include <cstdio>

#include "engine/engine.h"
#include "engine/soft/tsc.h"
#include "engine/soft/vcpu.h"
#include "engine/trace.h"

namespace vireo::engine {
namespace soft {
namespace {

constexpr u32 most_vcpus{254};  // 8-bit APIC ids; 0xff is "all"

class SoftwareEngine final : public Engine, private ApicFabric {
 public:
  SoftwareEngine(EngineConfig const& config, MachineView& machine) : config_{config}, machine_{machine} {
    auto const ratio = host_tsc_description().crystal_ratio;
    for (auto i = u32{0}; i < config_.vcpus; ++i) {
      vcpus_.push_back(std::make_unique<Vcpu>(VcpuId{i}, machine, config_.model,
                                              static_cast<ApicFabric&>(*this), pages_, ratio));
    }
  }
  ~SoftwareEngine() override {
    stop();
    if (trace() & trace_counters) print_counters();
  }

  Result<> use_translators() {
    for (auto& vcpu : vcpus_) {
      TRY(vcpu->use_translator(config_.code_cache / vcpus_.size(), config_.tier == Tier::verify));
    }
    return {};
  }

  // The machine's TSC goes on from where it stood, or from the machine's clock where that is further (after a
  // restore).
  void start() override {
    if (running_) return;
    running_ = true;
    if (pages_.follow_blocks()) {
      for (auto& vcpu : vcpus_) vcpu->forget_translations();
    }
    auto const ns = machine_.now_ns();
    auto const tsc = next_start_tsc(ns);
    tsc_offset_ = tsc - host_tsc();
    for (auto& vcpu : vcpus_) vcpu->start({.machine_tsc_offset = tsc_offset_, .tsc = tsc, .ns = ns});
  }
  void stop() override {
    if (!running_) return;
    for (auto& vcpu : vcpus_) vcpu->request_stop();
    for (auto& vcpu : vcpus_) vcpu->stop();
    stopped_tsc_ = host_tsc() + tsc_offset_;
    running_ = false;
  }
  void reset() override {
    auto const tsc = next_start_tsc(machine_.now_ns());
    for (auto& vcpu : vcpus_) vcpu->reset(tsc);
  }

  u32 vcpu_count() const override { return config_.vcpus; }
  VcpuState vcpu_state(VcpuId id) const override { return vcpus_.at(id.value)->state(); }
  Result<> set_vcpu_state(VcpuId id, VcpuState const& state) override {
    return vcpus_.at(id.value)->set_state(state);
  }
  state::Saved save_apic(VcpuId id) const override { return vcpus_.at(id.value)->apic().save(); }
  Result<> restore_apic(VcpuId id, state::Saved const& saved) override {
    return vcpus_.at(id.value)->apic().restore(saved);
  }

  void change_memory(std::function<void()> const& change) override { rendezvous_.change_mappings(change); }

  void deliver_msi(u64 address, u32 data) override { route(decode_msi(address, data)); }
  void set_extint(bool high) override { vcpus_.front()->apic().set_extint(high); }
  void inject_nmi(VcpuId id) override { vcpus_.at(id.value)->apic().raise_signal(LocalApic::signal_nmi); }

  std::vector<Counter> counters(VcpuId id) const override { return vcpus_.at(id.value)->counters(); }
  u64 instructions_interpreted() const override {
    auto sum = u64{0};
    for (auto const& vcpu : vcpus_) sum += vcpu->instructions();
    return sum;
  }

 private:
  void print_counters() const {
    for (auto const& vcpu : vcpus_) {
      for (auto const& [name, value] : vcpu->counters()) {
        fmt::print(stderr, "[{}] {} {}\n", vcpu->id().value, name, value);
      }
    }
  }

  u64 next_start_tsc(u64 now_ns) const {
    return std::max(stopped_tsc_, tsc_from_nanoseconds(host_tsc_description(), now_ns));
  }

  // ---- ApicFabric, any thread ----
  void route(ApicMessage const& message) override {
    if (message.mode == apic::DeliveryMode::lowest_priority) return route_to_lowest(message);
    for (auto& vcpu : vcpus_) {
      if (vcpu->apic().matches(message)) vcpu->apic().accept(message);
    }
  }
  void route_to_lowest(ApicMessage const& message) {
    auto* lowest = static_cast<Vcpu*>(nullptr);
    for (auto& vcpu : vcpus_) {
      if (!vcpu->apic().matches(message)) continue;
      if (lowest == nullptr || vcpu->apic().priority() < lowest->apic().priority()) lowest = vcpu.get();
    }
    if (lowest != nullptr) lowest->apic().accept(message);
  }
  void kick(u32 apic_id) override {
    if (apic_id < vcpus_.size()) vcpus_[apic_id]->apic().raise_signal(LocalApic::signal_kick);
  }

  EngineConfig config_;
  MachineView& machine_;
  Rendezvous rendezvous_;
  CodePages pages_{machine_.memory(), rendezvous_};
  std::vector<std::unique_ptr<Vcpu>> vcpus_;
  u64 tsc_offset_{};   // machine TSC - host TSC while running
  u64 stopped_tsc_{};  // machine TSC at the last stop
  bool running_{};
};

}  // namespace
}  // namespace soft

Result<std::unique_ptr<Engine>> create_software_engine(EngineConfig const& config, MachineView& machine) {
  if (config.vcpus == 0 || config.vcpus > soft::most_vcpus) {
    return fail(Errc::invalid, "the software engine runs 1 to 254 vCPUs");
  }
  if (config.tier == Tier::verify && config.vcpus != 1) {
    return fail(Errc::invalid,
                "the translator is verified with one vCPU only: others would change memory between");
  }
  auto engine = std::make_unique<soft::SoftwareEngine>(config, machine);
  if (config.tier != Tier::interpret) TRY(engine->use_translators());
  return engine;
}

}  // namespace vireo::engine
