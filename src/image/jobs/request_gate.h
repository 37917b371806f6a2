#pragma once

#include <array>
#include <atomic>
#include <condition_variable>
#include <mutex>

#include "vocab/integers.h"

namespace vireo::image {

/// Requests pass; whoever closes the gate waits for those inside and holds new ones up. Passing costs two
/// atomic additions on a counter that threads seldom share.
class RequestGate {
 public:
  /// Inside as long as it lives. Not twice in one thread: a closing gate would wait for ever.
  class Pass {
   public:
    explicit Pass(RequestGate& gate) : gate_{gate}, shard_{gate.enter()} {}
    Pass(Pass const&) = delete;
    ~Pass() { gate_.leave(shard_); }

   private:
    RequestGate& gate_;
    std::size_t shard_;
  };

  /// Waits until nobody is inside. For one thread at a time.
  void close();
  void open();

 private:
  static constexpr std::size_t shards{16};
  struct alignas(64) Shard {
    std::atomic<u64> inside{0};
  };
  std::size_t enter();
  void leave(std::size_t shard);
  u64 inside() const;

  std::array<Shard, shards> shards_{};
  std::atomic<bool> closed_{false};
  std::mutex mutex_;  // for waiting alone
  std::condition_variable changed_;
};

}  // namespace vireo::image
