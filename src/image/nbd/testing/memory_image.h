#pragma once

#include <algorithm>
#include <atomic>
#include <functional>
#include <mutex>
#include <vector>

#include "image/block_image.h"
#include "image/check_range.h"

namespace vireo::image::nbd {

/// For tests: a disk in memory that counts flushes.
class MemoryImage final : public BlockImage {
 public:
  explicit MemoryImage(u64 bytes) : bytes_(bytes) {}
  Geometry geometry() const override { return {.bytes = bytes_.size()}; }
  Result<> read(u64 at, Bytes into) override {
    TRY(check_range("memory", at, into.size(), bytes_.size()));
    if (before_read) before_read(at);
    auto const lock = std::lock_guard{mutex_};
    std::ranges::copy(ConstBytes{bytes_}.subspan(at, into.size()), into.begin());
    return {};
  }
  Result<> write(u64 at, ConstBytes from) override {
    TRY(check_range("memory", at, from.size(), bytes_.size()));
    auto const lock = std::lock_guard{mutex_};
    std::ranges::copy(from, Bytes{bytes_}.subspan(at).begin());
    return {};
  }
  Result<> write_zeroes(u64 at, u64 length, bool) override {
    TRY(check_range("memory", at, length, bytes_.size()));
    auto const lock = std::lock_guard{mutex_};
    std::ranges::fill(Bytes{bytes_}.subspan(at, length), std::byte{0});
    return {};
  }
  Result<> discard(u64 at, u64 length) override { return write_zeroes(at, length, true); }
  Result<> flush() override {
    ++flushes;
    return {};
  }
  Result<Extent> extent_at(u64 at) override {
    TRY(check_range("memory", at, 1, bytes_.size()));
    auto const lock = std::lock_guard{mutex_};
    constexpr auto grain = u64{4096};
    auto const zero_at = [&](u64 start) {
      auto const part = ConstBytes{bytes_}.subspan(start, std::min<u64>(grain, bytes_.size() - start));
      return std::ranges::all_of(part, [](std::byte byte) { return byte == std::byte{0}; });
    };
    auto const zero = zero_at(at);
    auto end = std::min<u64>(at + grain, bytes_.size());
    while (end < bytes_.size() && zero_at(end) == zero) end = std::min<u64>(end + grain, bytes_.size());
    return Extent{at, end - at, zero ? Presence::zero : Presence::data};
  }

  std::function<void(u64 at)> before_read;
  std::atomic<u32> flushes{0};

 private:
  std::mutex mutex_;
  std::vector<std::byte> bytes_;
};

}  // namespace vireo::image::nbd
