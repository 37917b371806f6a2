#pragma once

#include "vocab/integers.h"

namespace vireo::host {

/// CLOCK_MONOTONIC, nanoseconds: the base of all deadlines.
u64 monotonic_ns();
/// CLOCK_REALTIME, nanoseconds since 1970: for the guest's calendar only, it may step.
u64 wall_clock_ns();

}  // namespace vireo::host
