#include "device/virtio/rng/rng.h"

#include <sys/random.h>

#include <algorithm>

namespace vireo::device::virtio {
namespace {

/// Returns how many bytes came; fewer than asked when a signal came between.
u32 fill(std::span<Segment const> segments, u32 bytes) {
  auto done = u32{0};
  for (auto const& segment : segments) {
    auto const wanted = std::min<std::size_t>(segment.host.size(), bytes - done);
    auto const got = ::getrandom(segment.host.data(), wanted, 0);
    if (got <= 0) break;
    done += static_cast<u32>(got);
    if (static_cast<std::size_t>(got) < wanted || done == bytes) break;
  }
  return done;
}

}  // namespace

void Rng::queue_notified(u16 index) {
  consume(*transport_, index, [&](Chain&& chain) {
    if (chain.writable_bytes == 0) return transport_->fail("request without room for an answer");
    auto const written = fill(chain.writable, std::min(chain.writable_bytes, most_bytes));
    transport_->queue(index).push(chain, written);
  });
  transport_->interrupt(index);
}

Result<> Rng::restore(state::Saved const& saved) {
  auto state = State{};
  return state::restore(saved, state);
}

}  // namespace vireo::device::virtio
