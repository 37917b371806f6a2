#pragma once

#include <string>
#include <string_view>

#include "vocab/integers.h"
#include "vocab/result.h"

namespace vireo {

/// "4GiB", "4G", "512M", "1.5T", "4096": bytes. Letters are binary units. The error says what is accepted.
Result<u64> parse_size(std::string_view text);
/// The shortest form that parse_size reads back exactly: "4GiB", "1536MiB", "1000".
std::string format_size(u64 bytes);
/// A decimal number of at most `maximum`.
Result<u64> parse_number(std::string_view text, u64 maximum = ~u64{0});

/// The candidate nearest to `word` by edits, or empty when none is near: for "did you mean".
template <typename Candidates>
std::string nearest(std::string_view word, Candidates const& candidates);
u32 edit_distance(std::string_view a, std::string_view b);

template <typename Candidates>
std::string nearest(std::string_view word, Candidates const& candidates) {
  auto best = std::string{};
  auto best_distance = static_cast<u32>(word.size() / 2 + 1);
  for (auto const& candidate : candidates) {
    auto const distance = edit_distance(word, candidate);
    if (distance < best_distance) {
      best_distance = distance;
      best = std::string{candidate};
    }
  }
  return best;
}

}  // namespace vireo
