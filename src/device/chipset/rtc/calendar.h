#pragma once

#include <array>

#include "vocab/integers.h"

namespace vireo::device {

/// A civil UTC date and time, proleptic Gregorian.
struct Calendar {
  i64 year{1970};
  u8 month{1};        // 1..12
  u8 day{1};          // 1..31
  u8 day_of_week{5};  // 1 = Sunday
  u8 hour{}, minute{}, second{};
};

/// Seconds since 1970.
Calendar calendar_of(i64 seconds);
i64 seconds_of(Calendar const& calendar);

}  // namespace vireo::device
