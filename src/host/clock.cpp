#include "host/clock.h"

#include <ctime>

namespace vireo::host {
namespace {

u64 read_clock(clockid_t clock) {
  timespec now{};
  ::clock_gettime(clock, &now);
  return static_cast<u64>(now.tv_sec) * 1'000'000'000 + static_cast<u64>(now.tv_nsec);
}

}  // namespace

u64 monotonic_ns() { return read_clock(CLOCK_MONOTONIC); }
u64 wall_clock_ns() { return read_clock(CLOCK_REALTIME); }

}  // namespace vireo::host
