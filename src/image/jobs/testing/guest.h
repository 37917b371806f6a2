#pragma once

#include <atomic>
#include <thread>

#include "image/jobs/job_table.h"
#include "image/testing/random_disk.h"

namespace vireo::image::testing {

/// Threads that change a disk at random beside a flat copy, until stopped.
class Guest {
 public:
  Guest(BlockImage& disk, Shadow& shadow, u64 seed = 1) {
    constexpr auto threads = u64{3};
    auto const part = shadow.size() / threads / 512 * 512;
    for (auto number = u64{0}; number < threads; ++number) {
      threads_.emplace_back([&, this, part, number, seed] {
        auto random = std::mt19937_64{seed * threads + number};
        auto slice = Slice{disk, number * part, part};
        auto const mine = Bytes{shadow}.subspan(number * part, part);
        auto copy = Shadow{mine.begin(), mine.end()};
        while (!stop_ && !::testing::Test::HasFatalFailure()) {
          change(slice, copy, random);
          ++changes;
          if (slow) std::this_thread::sleep_for(std::chrono::microseconds{200});
        }
        std::ranges::copy(copy, mine.begin());
      });
    }
  }
  Guest(Guest const&) = delete;
  ~Guest() { stop(); }
  void stop() {
    stop_ = true;
    threads_.clear();
  }
  std::atomic<u64> changes{0};
  std::atomic<bool> slow{true};

 private:
  std::atomic<bool> stop_{false};
  std::vector<std::jthread> threads_;
};

}  // namespace vireo::image::testing
