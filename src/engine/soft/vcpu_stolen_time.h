#pragma once

#include "vocab/integers.h"

namespace vireo::engine::soft {

/// How long a thread was ready to run while the host ran others: what a guest is told as "steal". Made and used
/// on that thread. Zero for ever where the host does not tell.
class StolenTime {
 public:
  StolenTime();
  ~StolenTime();
  StolenTime(StolenTime const&) = delete;
  StolenTime& operator=(StolenTime const&) = delete;

  /// Nanoseconds since the last call (or the construction).
  u64 take();

 private:
  u64 total() const;

  int fd_;
  u64 taken_{};
};

}  // namespace vireo::engine::soft
