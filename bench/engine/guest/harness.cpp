#include "harness.h"

#include <array>
#include <cstring>
#include <ctime>

namespace bench {

uint64_t monotonic_nanoseconds() {
  timespec now{};
  clock_gettime(CLOCK_MONOTONIC, &now);
  return static_cast<uint64_t>(now.tv_sec) * 1'000'000'000U + static_cast<uint64_t>(now.tv_nsec);
}

void fill_text(std::span<char> text, uint64_t seed) {
  static constexpr std::array<char const*, 24> words{
      "the",      "of",          "machine", "page",   "table",  "fault",       "a",     "and",
      "register", "instruction", "to",      "in",     "memory", "kernel",      "guest", "buffer",
      "value",    "is",          "stored",  "before", "every",  "translation", "it",    "reads"};
  uint64_t state{seed * 2 + 1};
  size_t position{0};
  while (position < text.size()) {
    uint64_t const random{next_random(state)};
    char const* const word{words[(random >> 8) % words.size()]};
    for (size_t i{0}; word[i] != 0 && position < text.size(); ++i) text[position++] = word[i];
    if (position < text.size()) text[position++] = random % 11 == 0 ? '\n' : ' ';
  }
}

void fill_random(std::span<uint8_t> bytes, uint64_t seed) {
  uint64_t state{seed * 2 + 1};
  for (auto& byte : bytes) byte = static_cast<uint8_t>(next_random(state) >> 24);
}

}  // namespace bench
