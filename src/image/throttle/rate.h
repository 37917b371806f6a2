#pragma once

#include "vocab/integers.h"

namespace vireo::image {

/// Evenly so many units a second, and up to `burst` units at once after a rest (the generic cell rate
/// algorithm, ITU-T I.371). Times are in nanoseconds and only compared with each other.
class Rate {
 public:
  Rate() = default;
  /// 0 a second: no limit. A burst of 0: a tenth of a second's units, at least one.
  Rate(u64 per_second, u64 burst);

  /// When units that arrive now may go; they count from now on.
  u64 take(u64 units, u64 now_ns);
  bool is_limit() const { return per_second_ != 0; }

 private:
  u64 duration_of(u64 units) const;
  u64 per_second_{};
  u64 tolerance_ns_{};
  u64 next_{};  // when the next units would come if all came evenly
};

}  // namespace vireo::image
