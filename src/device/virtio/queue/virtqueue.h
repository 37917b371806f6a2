#pragma once

#include "device/virtio/queue/ring.h"

namespace vireo::device::virtio {

/// A virtqueue from the device's side (virtio 1.2, 2.6 to 2.8). Runs on the executor. Between map() and unmap()
/// it moves chains; otherwise, and after the driver broke a rule, it is empty and swallows completions.
class Virtqueue {
 public:
  Virtqueue(memory::GuestMemory const& memory, u16 maximum_size)
      : memory_{memory}, maximum_size_{maximum_size} {
    reset();
  }

  QueueState& state() { return state_; }
  QueueState const& state() const { return state_; }
  u16 maximum_size() const { return maximum_size_; }
  void reset();

  Result<> map(RingOptions options);
  void unmap() { ring_.reset(); }
  bool mapped() const { return ring_ != nullptr; }

  /// The next chain, or nothing. An error (once) means that the driver broke the rules.
  Result<std::optional<Chain>> pop();
  /// Takes back pops, the newest first; nothing else happened to the queue since.
  void unpop(Chain const& chain);
  /// A chain that was popped before the queue was mapped anew, and will be pushed.
  void adopt(Chain const& chain);
  void push(Chain const& chain, u32 written);
  /// The chains' buffers have been through note_written().
  void push(std::span<Completion const> completions);
  /// The device has written what it wanted into the chain's buffers. Any thread.
  void note_written(Chain const& chain) const;
  void disable_notifications();
  /// True: a chain came meanwhile, go on popping.
  bool enable_notifications();
  /// Whether the driver wants an interrupt for what was pushed since the last call.
  bool should_notify();

 private:
  bool usable() const { return ring_ != nullptr && state_.broken == 0; }
  void note_ring_written() const;

  memory::GuestMemory const& memory_;
  u16 maximum_size_;
  QueueState state_;
  std::unique_ptr<Ring> ring_;
  bool packed_{false};
  bool pushed_{false};
};

/// Whether `state` can be a queue of at most `maximum_size` entries: for restored state.
bool plausible(QueueState const& state, u16 maximum_size, bool packed);

}  // namespace vireo::device::virtio
