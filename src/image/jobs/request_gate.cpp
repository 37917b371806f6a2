#include "image/jobs/request_gate.h"

namespace vireo::image {
namespace {

std::size_t shard_of_thread() {
  static auto next = std::atomic<std::size_t>{0};
  thread_local auto const mine = next.fetch_add(1, std::memory_order_relaxed);
  return mine;
}

}  // namespace

// SOUND: who enters counts itself and then looks whether the gate is closed; who closes it says so and then
// counts. All of these are sequentially consistent, so at least one of the two sees the other.
std::size_t RequestGate::enter() {
  auto const shard = shard_of_thread() % shards;
  while (true) {
    shards_[shard].inside.fetch_add(1);
    if (!closed_.load()) [[likely]]
      return shard;
    leave(shard);
    auto lock = std::unique_lock{mutex_};
    changed_.wait(lock, [this] { return !closed_.load(); });
  }
}

void RequestGate::leave(std::size_t shard) {
  shards_[shard].inside.fetch_sub(1);
  if (!closed_.load()) [[likely]]
    return;
  auto const lock = std::lock_guard{mutex_};
  changed_.notify_all();
}

u64 RequestGate::inside() const {
  auto sum = u64{0};
  for (auto const& shard : shards_) sum += shard.inside.load();
  return sum;
}

void RequestGate::close() {
  closed_.store(true);
  auto lock = std::unique_lock{mutex_};
  changed_.wait(lock, [this] { return inside() == 0; });
}

void RequestGate::open() {
  auto const lock = std::lock_guard{mutex_};
  closed_.store(false);
  changed_.notify_all();
}

}  // namespace vireo::image
