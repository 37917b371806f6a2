#include "image/polled/unflushed_writes.h"

namespace vireo::image::polled {

u64 UnflushedWrites::add(Change change) {
  auto const lock = std::lock_guard{mutex_};
  bytes_ += change.bytes.size();
  changes_[next_] = std::move(change);
  return next_++;
}

u64 UnflushedWrites::add(u64 at, ConstBytes bytes) {
  return add(Change{.at = at, .bytes = {bytes.begin(), bytes.end()}});
}

u64 UnflushedWrites::add_zeroes(u64 at, u64 length) { return add(Change{.at = at, .zeroes = length}); }

void UnflushedWrites::done(u64 number) {
  auto const lock = std::lock_guard{mutex_};
  if (auto const found = changes_.find(number); found != changes_.end()) found->second.done = true;
}

void UnflushedWrites::erase(u64 number) {
  auto const found = changes_.find(number);
  if (found == changes_.end()) return;
  bytes_ -= found->second.bytes.size();
  changes_.erase(found);
}

void UnflushedWrites::drop(u64 number) {
  auto const lock = std::lock_guard{mutex_};
  erase(number);
}

u64 UnflushedWrites::bytes() const {
  auto const lock = std::lock_guard{mutex_};
  return bytes_;
}

std::vector<u64> UnflushedWrites::finished() const {
  auto const lock = std::lock_guard{mutex_};
  auto numbers = std::vector<u64>{};
  for (auto const& [number, change] : changes_) {
    if (change.done) numbers.push_back(number);
  }
  return numbers;
}

void UnflushedWrites::forget(std::vector<u64> const& committed) {
  auto const lock = std::lock_guard{mutex_};
  for (auto const number : committed) erase(number);
}

Result<> UnflushedWrites::replay(Write const& write, Zero const& zero) const {
  auto const lock = std::lock_guard{mutex_};
  for (auto const& [number, each] : changes_) {
    TRY(each.zeroes != 0 ? zero(each.at, each.zeroes) : write(each.at, each.bytes));
  }
  return {};
}

}  // namespace vireo::image::polled
