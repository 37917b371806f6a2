#include <fmt/format.h>

#include "device/virtio/queue/ring.h"

namespace vireo::device::virtio {
namespace {

using namespace spec;

class PackedRing final : public Ring {
 public:
  PackedRing(memory::GuestMemory const& memory, QueueState& state, RingOptions options, PackedDescriptor* table,
             EventSuppression const* driver, EventSuppression* device)
      : memory_{memory}, state_{state}, options_{options}, table_{table}, driver_{driver}, device_{device} {}

  Result<std::optional<Chain>> pop() override {
    if (!has_available()) return std::optional<Chain>{};
    auto builder = ChainBuilder{memory_};
    auto index = state_.next_available;
    for (auto slots = u16{1}; slots + in_flight_ <= state_.size; ++slots) {
      auto const descriptor = load_le<PackedDescriptor>(&table_[index]);  // once: the guest may change it
      auto const is_last = (descriptor.flags & VIRTQ_DESC_F_NEXT) == 0;
      if (++index == state_.size) index = 0;
      if ((descriptor.flags & VIRTQ_DESC_F_INDIRECT) != 0) {
        if (!options_.indirect) return fail(Errc::corrupt, "indirect descriptor without the feature");
        if (!is_last || slots != 1) return fail(Errc::corrupt, "indirect descriptor in a chain");
        TRY(add_indirect_table(memory_, builder, descriptor.address, descriptor.length, true));
      } else {
        TRY(builder.add(descriptor.address, descriptor.length, (descriptor.flags & VIRTQ_DESC_F_WRITE) != 0));
      }
      if (!is_last) continue;
      advance(state_.next_available, state_.available_wrap, slots);
      in_flight_ += slots;
      return std::optional{std::move(builder).take(descriptor.id, slots)};
    }
    return fail(Errc::corrupt, "descriptor chain longer than the queue");
  }

  void unpop(Chain const& chain) override {
    in_flight_ -= chain.slots;
    if (state_.next_available < chain.slots) {
      state_.next_available = static_cast<u16>(state_.next_available + state_.size);
      state_.available_wrap ^= 1;
    }
    state_.next_available = static_cast<u16>(state_.next_available - chain.slots);
  }

  bool adopt(Chain const& chain) override {
    in_flight_ += chain.slots;
    return chain.slots > 0 && in_flight_ <= state_.size;
  }

  void push(std::span<Completion const> completions) override {
    if (completions.empty()) return;
    auto const first = state_.next_used;
    auto const first_flags = used_flags(completions.front());
    for (auto const& completion : completions) {
      auto& descriptor = table_[state_.next_used];
      descriptor.id = completion.id;
      descriptor.length = completion.written;
      if (&completion != &completions.front()) {
        store_shared(descriptor.flags, used_flags(completion), std::memory_order_release);
      }
      advance(state_.next_used, state_.used_wrap, completion.slots);
      in_flight_ -= completion.slots;
    }
    // Publishes the rest, and stands before what should_notify() reads.
    store_shared(table_[first].flags, first_flags, std::memory_order_seq_cst);
  }

  bool has_available() const override {
    if (in_flight_ >= state_.size) return false;  // that slot is still ours
    auto const flags = load_shared(table_[state_.next_available].flags, std::memory_order_acquire);
    auto const wrap = state_.available_wrap != 0;
    return ((flags & VIRTQ_DESC_F_AVAIL) != 0) == wrap && ((flags & VIRTQ_DESC_F_USED) != 0) != wrap;
  }

  void disable_notifications() override {
    store_shared(device_->flags, RING_EVENT_FLAGS_DISABLE, std::memory_order_relaxed);
  }

  void enable_notifications() override {
    if (options_.event_index) {
      auto const offset_wrap = static_cast<u16>(state_.next_available | (state_.available_wrap << 15));
      store_shared(device_->offset_wrap, offset_wrap, std::memory_order_relaxed);
      store_shared(device_->flags, RING_EVENT_FLAGS_DESC, std::memory_order_seq_cst);
    } else {
      store_shared(device_->flags, RING_EVENT_FLAGS_ENABLE, std::memory_order_seq_cst);
    }
  }

  bool should_notify() override {
    auto old = state_.signalled;
    auto const old_valid = state_.signalled_valid != 0;
    state_.signalled = state_.next_used;
    state_.signalled_valid = 1;
    auto const flags = load_shared(driver_->flags, std::memory_order_acquire);
    if (flags == RING_EVENT_FLAGS_DISABLE) return false;
    if (flags != RING_EVENT_FLAGS_DESC || !options_.event_index || !old_valid) return true;
    auto const offset_wrap = load_shared(driver_->offset_wrap, std::memory_order_relaxed);
    // Slots of the other lap count as negative (2.8.14).
    auto event = static_cast<u16>(offset_wrap & 0x7fff);
    if ((offset_wrap >> 15) != state_.used_wrap) event = static_cast<u16>(event - state_.size);
    if (old >= state_.next_used) old = static_cast<u16>(old - state_.size);
    return event_passed(event, state_.next_used, old);
  }

 private:
  void advance(u16& index, u16& wrap, u16 slots) const {
    auto const next = u32{index} + slots;
    index = static_cast<u16>(next >= state_.size ? next - state_.size : next);
    if (next >= state_.size) wrap ^= 1;
  }
  u16 used_flags(Completion const& completion) const {
    auto flags = completion.written > 0 ? VIRTQ_DESC_F_WRITE : u16{0};
    if (state_.used_wrap != 0) flags |= VIRTQ_DESC_F_AVAIL | VIRTQ_DESC_F_USED;
    return flags;
  }

  memory::GuestMemory const& memory_;
  QueueState& state_;
  RingOptions options_;
  PackedDescriptor* table_;
  EventSuppression const* driver_;
  EventSuppression* device_;
  u32 in_flight_{0};  // slots
};

}  // namespace

Result<std::unique_ptr<Ring>> make_packed_ring(memory::GuestMemory const& memory, QueueState& state,
                                               RingOptions options) {
  if (state.size == 0) return fail(Errc::corrupt, "packed queue without entries");
  auto const table_bytes = u64{state.size} * sizeof(PackedDescriptor);
  auto* const table = TRY(ring_area(memory, state.descriptors, table_bytes, 16, "descriptor ring"));
  auto* const driver = TRY(ring_area(memory, state.driver, sizeof(EventSuppression), 4, "driver event area"));
  auto* const device = TRY(ring_area(memory, state.device, sizeof(EventSuppression), 4, "device event area"));
  // SOUND: ring_area() checked bounds and alignment; the regions outlive the ring.
  return std::make_unique<PackedRing>(memory, state, options, reinterpret_cast<PackedDescriptor*>(table),
                                      reinterpret_cast<EventSuppression const*>(driver),
                                      reinterpret_cast<EventSuppression*>(device));
}

}  // namespace vireo::device::virtio
