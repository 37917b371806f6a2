#include "image/throttle/rate.h"

#include <algorithm>

namespace vireo::image {
namespace {

constexpr u64 second{1'000'000'000};

}  // namespace

Rate::Rate(u64 per_second, u64 burst) : per_second_{per_second} {
  if (per_second == 0) return;
  tolerance_ns_ = duration_of(burst != 0 ? burst : std::max<u64>(per_second / 10, 1));
}

u64 Rate::duration_of(u64 units) const {
  using Wide = unsigned __int128;
  return static_cast<u64>(std::min<Wide>(Wide{units} * second / per_second_, ~u64{0} >> 2));
}

u64 Rate::take(u64 units, u64 now_ns) {
  if (per_second_ == 0 || units == 0) return now_ns;
  auto const begin = std::max(next_, now_ns);
  next_ = begin + duration_of(units);
  // All of the burst may go at once; one that is larger than the burst waits for what is over.
  return std::max(now_ns, next_ - std::min(next_, tolerance_ns_));
}

}  // namespace vireo::image
