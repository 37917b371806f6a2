#include "image/nfs/unflushed_writes.h"

namespace vireo::image::nfs {

u64 UnflushedWrites::add(u64 at, ConstBytes bytes) {
  auto const lock = std::lock_guard{mutex_};
  writes_[next_] = {.at = at, .bytes = {bytes.begin(), bytes.end()}};
  bytes_ += bytes.size();
  return next_++;
}

void UnflushedWrites::done(u64 number) {
  auto const lock = std::lock_guard{mutex_};
  if (auto const found = writes_.find(number); found != writes_.end()) found->second.done = true;
}

void UnflushedWrites::erase(u64 number) {
  auto const found = writes_.find(number);
  if (found == writes_.end()) return;
  bytes_ -= found->second.bytes.size();
  writes_.erase(found);
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
  for (auto const& [number, write] : writes_) {
    if (write.done) numbers.push_back(number);
  }
  return numbers;
}

void UnflushedWrites::forget(std::vector<u64> const& committed) {
  auto const lock = std::lock_guard{mutex_};
  for (auto const number : committed) erase(number);
}

Result<> UnflushedWrites::replay(std::function<Result<>(u64 at, ConstBytes bytes)> const& write) const {
  auto const lock = std::lock_guard{mutex_};
  for (auto const& [number, each] : writes_) TRY(write(each.at, each.bytes));
  return {};
}

}  // namespace vireo::image::nfs
