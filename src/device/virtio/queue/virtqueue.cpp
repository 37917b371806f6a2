#include "device/virtio/queue/virtqueue.h"

namespace vireo::device::virtio {

void Virtqueue::reset() {
  ring_.reset();
  state_ = QueueState{.size = maximum_size_};
}

Result<> Virtqueue::map(RingOptions options) {
  if (state_.size > maximum_size_) return fail(Errc::corrupt, "queue larger than offered");
  ring_ = TRY(options.packed ? make_packed_ring(memory_, state_, options)
                             : make_split_ring(memory_, state_, options));
  packed_ = options.packed;
  return {};
}

Result<std::optional<Chain>> Virtqueue::pop() {
  if (!usable()) return std::optional<Chain>{};
  auto chain = ring_->pop();
  if (!chain) state_.broken = 1;
  return chain;
}

void Virtqueue::unpop(Chain const& chain) {
  if (usable()) ring_->unpop(chain);
}

void Virtqueue::adopt(Chain const& chain) {
  if (usable() && !ring_->adopt(chain)) state_.broken = 1;
}

void Virtqueue::push(Chain const& chain, u32 written) {
  note_written(chain);
  auto const completion = Completion{chain.id, chain.slots, written};
  push(std::span{&completion, 1});
}

void Virtqueue::push(std::span<Completion const> completions) {
  if (!usable() || completions.empty()) return;
  ring_->push(completions);
  pushed_ = true;
  note_ring_written();
}

void Virtqueue::note_written(Chain const& chain) const {
  for (auto const& segment : chain.writable) memory_.note_written(segment.at, segment.host.size());
}

// 2.7.8 and 2.8.10: the areas that a device writes.
void Virtqueue::note_ring_written() const {
  auto const entries = u64{state_.size};
  if (packed_) memory_.note_written(Gpa{state_.descriptors}, entries * sizeof(spec::PackedDescriptor));
  memory_.note_written(Gpa{state_.device},
                       packed_ ? sizeof(spec::EventSuppression) : 6 + entries * sizeof(spec::UsedElement));
}

void Virtqueue::disable_notifications() {
  if (!usable()) return;
  ring_->disable_notifications();
  note_ring_written();
}

bool Virtqueue::enable_notifications() {
  if (!usable()) return false;
  ring_->enable_notifications();
  note_ring_written();
  return ring_->has_available();
}

bool Virtqueue::should_notify() { return usable() && std::exchange(pushed_, false) && ring_->should_notify(); }

bool plausible(QueueState const& state, u16 maximum_size, bool packed) {
  auto const is_flag = [](u16 value) { return value <= 1; };
  if (state.size == 0 || state.size > maximum_size) return false;
  if (!is_flag(state.enabled) || !is_flag(state.broken) || !is_flag(state.signalled_valid)) return false;
  if (!is_flag(state.available_wrap) || !is_flag(state.used_wrap)) return false;
  if (!packed) return true;
  return state.next_available < state.size && state.next_used < state.size && state.signalled < state.size;
}

}  // namespace vireo::device::virtio
