#pragma once

#include <optional>

#include "bus/device.h"
#include "bus/executor.h"
#include "bus/pci.h"
#include "device/virtio/device.h"

namespace vireo::device::virtio {

/// The modern PCI transport (virtio 1.2, 4.1): carries one VirtioDevice. BAR 0 holds common, ISR, device and
/// notify registers, BAR 2 the MSI-X table; without MSI-X it raises INTA.
class VirtioPci final : public bus::Device, public bus::PciFunction, private Transport {
 public:
  /// `memory` and `executor` outlive the device.
  VirtioPci(bus::Executor& executor, memory::GuestMemory& memory, std::unique_ptr<VirtioDevice> function);
  ~VirtioPci() override;

  VirtioDevice& function() { return *function_; }

  // bus::Device
  bus::PciFunction* pci() override { return this; }
  void start() override;
  void stop() override;
  void reset() override;
  state::Saved save() const override;
  Result<> restore(state::Saved const& saved) override;

  // bus::PciFunction
  bus::PciConfigSpace& config() override { return config_; }
  void config_written(u16 offset, u8 width) override;
  void config_reading(u16 offset, u8 width) override;
  u64 read_bar(u8 bar, u64 offset, u8 width) override;
  void write_bar(u8 bar, u64 offset, u8 width, u64 value) override;
  void connect_intx(bus::IrqLine* line) override { intx_ = line; }

 private:
  struct State {
    static constexpr std::string_view schema{"virtio-pci"};
    u64 driver_features{};
    u32 device_feature_select{};
    u32 driver_feature_select{};
    u16 config_vector{0xffff};
    u16 queue_select{};
    u8 status{};
    u8 config_generation{};
    u8 isr{};
    std::vector<QueueState> queues{};

    static void fields(auto&& s, auto&& f) {
      f(1, "driver_features", s.driver_features);
      f(2, "device_feature_select", s.device_feature_select);
      f(3, "driver_feature_select", s.driver_feature_select);
      f(4, "config_vector", s.config_vector);
      f(5, "queue_select", s.queue_select);
      f(6, "status", s.status);
      f(7, "config_generation", s.config_generation);
      f(8, "isr", s.isr);
      f(9, "queues", s.queues);
    }
  };

  // Transport
  Virtqueue& queue(u16 index) override { return queues_.at(index); }
  memory::GuestMemory const& memory() const override { return memory_; }
  bool negotiated(u32 feature) const override { return ((state_.driver_features >> feature) & 1) != 0; }
  void interrupt(u16 index) override;
  void config_changed() override;
  void fail(std::string_view reason) override;
  void notify_later(u16 index) override;
  void post(std::function<void()> work) override;

  u64 offered_features() const;
  u16 vectors() const { return static_cast<u16>(queues_.size() + 1); }
  Virtqueue* selected();

  u64 read_common(u64 offset, u8 width);
  void write_common(u64 offset, u8 width, u64 value);
  void write_queue_register(u64 offset, u64 value);
  void write_status(u8 value);
  void reset_driver_view();
  void reset_queue(Virtqueue& queue);
  u8 read_isr();

  void go_live();
  void go_quiet();
  bool map(Virtqueue& queue);
  void signal(u16 vector, u8 isr);
  void update_intx();
  Result<> check(State const& state) const;

  bus::Executor& executor_;
  memory::GuestMemory const& memory_;
  std::unique_ptr<VirtioDevice> function_;
  bus::PciConfigSpace config_;
  bus::IrqLine* intx_{nullptr};
  u8 window_capability_{};  // VIRTIO_PCI_CAP_PCI_CFG
  State state_;
  std::vector<Virtqueue> queues_;
  bool started_{false};
  bool live_{false};  // between activate() and quiesce()
  std::shared_ptr<int> alive_ = std::make_shared<int>();
};

}  // namespace vireo::device::virtio
