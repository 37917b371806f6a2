#include "engine/soft/vcpu_stolen_time.h"

#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <charconv>
#include <string_view>

namespace vireo::engine::soft {

// Linux, Documentation/scheduler/sched-stats.rst: time on the processor, time waiting for it, count of slices.
StolenTime::StolenTime() : fd_{open("/proc/thread-self/schedstat", O_RDONLY | O_CLOEXEC)} { taken_ = total(); }

StolenTime::~StolenTime() {
  if (fd_ >= 0) close(fd_);
}

u64 StolenTime::take() {
  auto const now = std::max(total(), taken_);
  auto const fresh = now - taken_;
  taken_ = now;
  return fresh;
}

u64 StolenTime::total() const {
  auto text = std::array<char, 80>{};
  auto const length = fd_ < 0 ? ssize_t{0} : pread(fd_, text.data(), text.size(), 0);
  auto const line = std::string_view{text.data(), static_cast<std::size_t>(std::max<ssize_t>(length, 0))};
  auto const blank = line.find(' ');
  if (blank == std::string_view::npos) return 0;
  auto waited = u64{0};
  std::from_chars(line.data() + blank + 1, line.data() + line.size(), waited);
  return waited;
}

}  // namespace vireo::engine::soft
