#pragma once

#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "device/virtio/queue/virtqueue.h"
#include "state/saved.h"

namespace vireo::device::virtio {

enum class DeviceId : u16 {
  network = 1,
  block = 2,
  console = 3,
  entropy = 4,
  balloon = 5
};  // virtio 1.2 chapter 5

/// What a device function may ask of the transport that carries it. Executor only.
class Transport {
 public:
  virtual ~Transport() = default;
  virtual Virtqueue& queue(u16 index) = 0;
  virtual memory::GuestMemory const& memory() const = 0;
  /// `feature` is a bit number; true once the driver has accepted it.
  virtual bool negotiated(u32 feature) const = 0;
  /// Interrupts the driver for what was pushed to queue `index`, if it wants that.
  virtual void interrupt(u16 index) = 0;
  /// Device configuration has changed.
  virtual void config_changed() = 0;
  /// The driver broke the rules: the device needs a reset, and until then its queues are dead.
  virtual void fail(std::string_view reason) = 0;
  /// Calls queue_notified(index) again soon, after others had their turn.
  virtual void notify_later(u16 index) = 0;
  /// Runs `work` on the executor, unless the device is gone by then. Any thread.
  virtual void post(std::function<void()> work) = 0;
};

/// A virtio device without its transport. Runs on the executor. Between activate() and quiesce() the driver is
/// ready and the machine runs; the queues move only then.
class VirtioDevice {
 public:
  struct Description {
    DeviceId id{};
    u32 class_code{};  // PCI
    std::string name;  // for logs
    std::vector<u16> queue_sizes;
  };

  virtual ~VirtioDevice() = default;
  virtual Description const& description() const = 0;
  /// The function's own feature bits; those of rings and transport are added by the transport.
  virtual u64 features() const = 0;
  /// Device configuration; bytes past its end read as zero and are not written.
  virtual void read_config(u32 offset, Bytes into) const = 0;
  virtual void write_config(u32 offset, ConstBytes from) = 0;

  /// Once, before anything else.
  virtual void attach(Transport& transport) = 0;
  virtual void activate() = 0;
  virtual void queue_notified(u16 index) = 0;
  /// On return no thread of ours touches guest memory, and every popped chain is pushed or kept for activate(),
  /// which adopts it.
  virtual void quiesce() = 0;

  // As in bus::Device; only while quiet.
  virtual void reset() = 0;
  virtual state::Saved save() const = 0;
  virtual Result<> restore(state::Saved const& saved) = 0;
};

/// Pops every waiting chain of a queue and gives it to `handle(Chain&&)`, which pushes it now or later.
/// Interrupts stay the caller's. A driver that never stops adding does not keep the executor: the rest follows
/// later.
template <typename Handle>
void consume(Transport& transport, u16 index, Handle&& handle) {
  auto& queue = transport.queue(index);
  auto budget = u32{queue.maximum_size()};
  do {
    queue.disable_notifications();
    for (;; --budget) {
      if (budget == 0) return transport.notify_later(index);
      auto chain = queue.pop();
      if (!chain) return transport.fail(chain.error().what());
      if (!*chain) break;
      handle(std::move(**chain));
    }
  } while (queue.enable_notifications());
}

/// Copies the part of `config` that [offset, offset + into.size()) covers; the rest reads as zero.
template <typename Config>
void read_config_struct(Config const& config, u32 offset, Bytes into) {
  std::memset(into.data(), 0, into.size());
  if (offset >= sizeof config) return;
  auto const bytes = std::as_bytes(std::span{&config, 1}).subspan(offset);
  std::memcpy(into.data(), bytes.data(), std::min(bytes.size(), into.size()));
}

}  // namespace vireo::device::virtio
