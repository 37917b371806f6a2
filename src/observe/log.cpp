#include "observe/log.h"

#include <unistd.h>

#include <chrono>
#include <string>

namespace vireo::observe {
namespace {

std::atomic<Level> threshold{Level::warning};

constexpr std::string_view level_names[]{"error", "warning", "info", "debug"};
constexpr u64 window_ns{10'000'000'000};

}  // namespace

void set_log_level(Level level) { threshold.store(level, std::memory_order_relaxed); }

bool log_enabled(Level level) { return level <= threshold.load(std::memory_order_relaxed); }

void log_line(Level level, std::string_view component, std::string_view text) {
  auto line = fmt::format("vireo: {}: {}: ", level_names[static_cast<u8>(level)], component);
  for (auto const c : text) {
    auto const byte = static_cast<unsigned char>(c);
    if (byte < 0x20 || byte == 0x7f)
      line += fmt::format("\\x{:02x}", byte);
    else
      line += c;
  }
  line += '\n';
  // One write, so that lines of several threads do not mix. There is nowhere to report that stderr is gone.
  [[maybe_unused]] auto const written = ::write(STDERR_FILENO, line.data(), line.size());
}

bool RateLimit::allow() {
  auto const now = static_cast<u64>(std::chrono::steady_clock::now().time_since_epoch().count());
  auto start = window_start_ns_.load(std::memory_order_relaxed);
  if (now - start > window_ns &&
      window_start_ns_.compare_exchange_strong(start, now, std::memory_order_relaxed)) {
    used_.store(0, std::memory_order_relaxed);
  }
  return used_.fetch_add(1, std::memory_order_relaxed) < burst_;
}

}  // namespace vireo::observe
