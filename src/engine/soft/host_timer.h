#pragma once

#include <ctime>

#include "vocab/integers.h"

namespace vireo::engine::soft {

class Cpu;

/// Breaks into the translated code of one vCPU when its time has come: a signal to its thread asks for
/// attention. Created and used on that thread.
class HostTimer {
 public:
  explicit HostTimer(Cpu& cpu);
  ~HostTimer();
  HostTimer(HostTimer const&) = delete;
  HostTimer& operator=(HostTimer const&) = delete;

  /// At `deadline` by the host's TSC, ~0 for never. Cheap when it is what it was, or later: then it only fires
  /// in vain.
  void arm(u64 deadline);

 private:
  timer_t timer_{};
  bool exists_{};
  u64 armed_{~u64{0}};
};

}  // namespace vireo::engine::soft
