#pragma once

#include <span>
#include <string>
#include <vector>

#include "device/virtio/pci/virtio_pci.h"
#include "device/virtio/testing/driver_queue.h"
#include "device/virtio/testing/waiting_executor.h"

namespace vireo::device::virtio::testing {

/// A virtio device on its PCI transport with memory around it, and a driver that reaches it by registers alone.
class TestMachine final : private bus::MsiSink, private bus::IrqLine {
 public:
  static constexpr u64 ram_bytes{64 * MiB};
  static constexpr u64 buffers{16 * MiB};  // where tests may put data; below lie the rings

  using MakeFunction = std::function<std::unique_ptr<VirtioDevice>(memory::GuestMemory&)>;

  explicit TestMachine(std::unique_ptr<VirtioDevice> function);
  /// For functions that need the memory.
  explicit TestMachine(MakeFunction const& make);

  // What a driver does (3.1.1).
  u64 common(u16 offset, u8 width) { return device.read_bar(0, offset, width); }
  void set_common(u16 offset, u8 width, u64 value) { device.write_bar(0, offset, width, value); }
  u8 status() { return static_cast<u8>(common(0x14, 1)); }
  void set_status(u8 value) { set_common(0x14, 1, value); }
  u64 device_features();
  void set_driver_features(u64 features);
  void enable_msix();
  /// Acknowledge, negotiate `features` of those offered, set up all queues, DRIVER_OK. Interrupts: MSI-X,
  /// vector of queue i is i + 1, of configuration 0.
  void bring_up(u64 features, u16 queue_size = 16);
  void kick(u16 index) { device.write_bar(0, 0x3000 + 4 * u64{index}, 2, index); }
  template <typename T>
  T device_config(u32 offset) {
    return static_cast<T>(device.read_bar(0, 0x2000 + offset, sizeof(T)));
  }

  // Data in guest memory.
  Gpa put(u64 offset, ConstBytes bytes);
  Gpa put(u64 offset, std::string_view text) { return put(offset, std::as_bytes(std::span{text})); }
  std::string text(u64 offset, u64 length);
  Used wait_used(u16 index);
  u32 interrupts(u16 vector) const;

  WaitingExecutor executor;
  memory::GuestMemory memory;
  VirtioPci device;
  std::vector<std::unique_ptr<DriverQueue>> queues;
  bool intx{false};

 private:
  void plug_in();
  void signal(u64 address, u32 data) override;
  void set(bool high) override { intx = high; }

  std::vector<u32> interrupts_;
};

inline constexpr u64 version_1{u64{1} << 32};
inline constexpr u64 ring_packed{u64{1} << 34};
inline constexpr u64 indirect{u64{1} << 28};
inline constexpr u64 event_index{u64{1} << 29};

/// What a guest would do to a device for the contract test: negotiate and set up its queues.
void disturb(VirtioPci& device);

}  // namespace vireo::device::virtio::testing
