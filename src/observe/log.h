#pragma once

#include <fmt/format.h>

#include <atomic>
#include <string_view>

#include "vocab/integers.h"

namespace vireo::observe {

enum class Level : u8 { error, warning, info, debug };

/// Lines above this level are dropped. Default: warning.
void set_log_level(Level level);
bool log_enabled(Level level);

/// Writes one line to stderr: "vireo: warning: virtio-blk: text". Any thread. Control characters are escaped.
void log_line(Level level, std::string_view component, std::string_view text);

template <typename... Arguments>
void log(Level level, std::string_view component, fmt::format_string<Arguments...> format,
         Arguments&&... arguments) {
  if (log_enabled(level))
    log_line(level, component, fmt::format(format, std::forward<Arguments>(arguments)...));
}

/// For what a guest can cause: at most `burst` lines per 10 seconds and call site.
class RateLimit {
 public:
  explicit RateLimit(u32 burst = 5) : burst_{burst} {}
  bool allow();

 private:
  u32 burst_;
  std::atomic<u64> window_start_ns_{0};
  std::atomic<u32> used_{0};
};

}  // namespace vireo::observe

/// log() with a limiter of this line's own.
#define VIREO_LOG_GUEST(level, component, ...)                                            \
  do {                                                                                    \
    static ::vireo::observe::RateLimit limit_of_this_line{};                              \
    if (limit_of_this_line.allow()) ::vireo::observe::log(level, component, __VA_ARGS__); \
  } while (false)
