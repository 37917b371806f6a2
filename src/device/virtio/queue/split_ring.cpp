#include <fmt/format.h>

#include "device/virtio/queue/ring.h"

namespace vireo::device::virtio {
namespace {

using namespace spec;

class SplitRing final : public Ring {
 public:
  SplitRing(memory::GuestMemory const& memory, QueueState& state, RingOptions options, SplitDescriptor* table,
            RingHeader* available, RingHeader* used)
      : memory_{memory}, state_{state}, options_{options}, table_{table}, available_{available}, used_{used} {
    // SOUND: ring_area() checked that header, entries and event index lie in RAM, aligned as their types are.
    heads_ = reinterpret_cast<u16*>(available + 1);
    elements_ = reinterpret_cast<UsedElement*>(used + 1);
    used_event_ = heads_ + state.size;
    avail_event_ = reinterpret_cast<u16*>(elements_ + state.size);
  }

  Result<std::optional<Chain>> pop() override {
    auto const index = load_shared(available_->index, std::memory_order_acquire);
    auto const waiting = static_cast<u16>(index - state_.next_available);
    if (waiting == 0) return std::optional<Chain>{};
    if (waiting > state_.size) return fail(Errc::corrupt, fmt::format("available index jumped by {}", waiting));
    if (in_flight_ >= state_.size)
      return fail(Errc::corrupt, "more chains in flight than the queue has entries");
    auto const head = load_shared(heads_[slot(state_.next_available)], std::memory_order_relaxed);
    auto chain = TRY(walk(head));
    ++state_.next_available;
    ++in_flight_;
    return std::optional{std::move(chain)};
  }

  void unpop(Chain const&) override {
    --state_.next_available;
    --in_flight_;
  }

  bool adopt(Chain const&) override { return ++in_flight_ <= state_.size; }

  void push(std::span<Completion const> completions) override {
    for (auto const& completion : completions) {
      elements_[slot(state_.next_used)] = UsedElement{completion.id, completion.written};
      ++state_.next_used;
      --in_flight_;
    }
    store_shared(used_->index, state_.next_used, std::memory_order_seq_cst);  // before should_notify() reads
  }

  bool has_available() const override {
    return load_shared(available_->index, std::memory_order_acquire) != state_.next_available;
  }

  void disable_notifications() override {
    if (!options_.event_index) store_shared(used_->flags, VIRTQ_USED_F_NO_NOTIFY, std::memory_order_relaxed);
  }

  void enable_notifications() override {
    auto& field = options_.event_index ? *avail_event_ : used_->flags;
    store_shared(field, options_.event_index ? state_.next_available : u16{0}, std::memory_order_seq_cst);
  }

  bool should_notify() override {
    auto const old = state_.signalled;
    auto const old_valid = state_.signalled_valid != 0;
    state_.signalled = state_.next_used;
    state_.signalled_valid = 1;
    if (!options_.event_index) {
      auto const flags = load_shared(available_->flags, std::memory_order_relaxed);
      return (flags & VIRTQ_AVAIL_F_NO_INTERRUPT) == 0;
    }
    return !old_valid ||
           event_passed(load_shared(*used_event_, std::memory_order_relaxed), state_.next_used, old);
  }

 private:
  u16 slot(u16 index) const { return static_cast<u16>(index & (state_.size - 1)); }

  Result<Chain> walk(u16 head) {
    auto builder = ChainBuilder{memory_};
    auto index = head;
    for (auto visited = u16{0}; visited < state_.size; ++visited) {
      if (index >= state_.size)
        return fail(Errc::corrupt, fmt::format("descriptor {} of {}", index, state_.size));
      auto const descriptor = load_le<SplitDescriptor>(&table_[index]);  // once: the guest may change it
      auto const is_last = (descriptor.flags & VIRTQ_DESC_F_NEXT) == 0;
      if ((descriptor.flags & VIRTQ_DESC_F_INDIRECT) != 0) {
        if (!options_.indirect) return fail(Errc::corrupt, "indirect descriptor without the feature");
        if (!is_last) return fail(Errc::corrupt, "indirect descriptor with a next one");
        TRY(add_indirect_table(memory_, builder, descriptor.address, descriptor.length, false));
      } else {
        TRY(builder.add(descriptor.address, descriptor.length, (descriptor.flags & VIRTQ_DESC_F_WRITE) != 0));
      }
      if (is_last) return std::move(builder).take(head, static_cast<u16>(visited + 1));
      index = descriptor.next;
    }
    return fail(Errc::corrupt, "loop in a descriptor chain");
  }

  memory::GuestMemory const& memory_;
  QueueState& state_;
  RingOptions options_;
  SplitDescriptor* table_;
  RingHeader* available_;
  RingHeader* used_;
  u16* heads_;
  UsedElement* elements_;
  u16* used_event_;
  u16* avail_event_;
  u32 in_flight_{0};
};

}  // namespace

Result<std::unique_ptr<Ring>> make_split_ring(memory::GuestMemory const& memory, QueueState& state,
                                              RingOptions options) {
  auto const entries = u64{state.size};
  if (entries == 0 || (entries & (entries - 1)) != 0) {
    return fail(Errc::corrupt, fmt::format("split queue of {} entries", entries));
  }
  auto* const table =
      TRY(ring_area(memory, state.descriptors, entries * sizeof(SplitDescriptor), 16, "descriptors"));
  auto* const available = TRY(ring_area(memory, state.driver, 6 + 2 * entries, 2, "available ring"));
  auto* const used = TRY(ring_area(memory, state.device, 6 + sizeof(UsedElement) * entries, 4, "used ring"));
  // SOUND: ring_area() checked bounds and alignment; the regions outlive the ring.
  return std::make_unique<SplitRing>(memory, state, options, reinterpret_cast<SplitDescriptor*>(table),
                                     reinterpret_cast<RingHeader*>(available),
                                     reinterpret_cast<RingHeader*>(used));
}

}  // namespace vireo::device::virtio
