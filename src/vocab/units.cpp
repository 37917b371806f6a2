#include "vocab/units.h"

#include <fmt/format.h>

#include <algorithm>
#include <charconv>
#include <numeric>
#include <vector>

namespace vireo {
namespace {

constexpr std::string_view unit_letters{"KMGTPE"};

}  // namespace

Result<u64> parse_number(std::string_view text, u64 maximum) {
  auto value = u64{0};
  auto const [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error != std::errc{} || end != text.data() + text.size() || text.empty()) {
    return fail(Errc::invalid, fmt::format("'{}' is not a whole number", text));
  }
  if (value > maximum)
    return fail(Errc::invalid, fmt::format("{} is too large, {} is the most", text, maximum));
  return value;
}

Result<u64> parse_size(std::string_view text) {
  auto const bad = [&] {
    return fail(Errc::invalid,
                fmt::format("'{}' is not a size: write bytes, or a number with K, M, G, T (or KiB, MiB, "
                            "GiB, TiB), as in 512M or 4GiB",
                            text));
  };
  auto number = 0.0;
  auto const [end, error] =
      std::from_chars(text.data(), text.data() + text.size(), number, std::chars_format::fixed);
  if (error != std::errc{} || number < 0) return bad();
  auto const digits = text.substr(0, static_cast<std::size_t>(end - text.data()));
  auto suffix = text.substr(digits.size());
  auto shift = u32{0};
  if (!suffix.empty() && suffix != "B") {
    auto const letter =
        unit_letters.find(static_cast<char>(std::toupper(static_cast<unsigned char>(suffix[0]))));
    if (letter == std::string_view::npos) return bad();
    shift = 10 * (static_cast<u32>(letter) + 1);
    suffix.remove_prefix(1);
    if (!suffix.empty() && suffix != "iB" && suffix != "i" && suffix != "B") return bad();
  }
  if (digits.find('.') == std::string_view::npos) {
    auto const whole = parse_number(digits);
    if (!whole || (shift > 0 && *whole > (~u64{0} >> shift))) return bad();
    return *whole << shift;
  }
  auto const bytes = number * static_cast<double>(u64{1} << shift);
  if (bytes >= 18e18) return bad();
  return static_cast<u64>(bytes);
}

std::string format_size(u64 bytes) {
  auto unit = std::size_t{0};
  while (bytes != 0 && bytes % 1024 == 0 && unit < unit_letters.size()) {
    bytes /= 1024;
    ++unit;
  }
  if (unit == 0) return fmt::format("{}", bytes);
  return fmt::format("{}{}iB", bytes, unit_letters[unit - 1]);
}

u32 edit_distance(std::string_view a, std::string_view b) {
  auto row = std::vector<u32>(b.size() + 1);
  std::iota(row.begin(), row.end(), u32{0});
  for (auto i = std::size_t{0}; i < a.size(); ++i) {
    auto diagonal = row[0];
    row[0] = static_cast<u32>(i + 1);
    for (auto j = std::size_t{0}; j < b.size(); ++j) {
      auto const substituted = diagonal + (a[i] == b[j] ? 0u : 1u);
      diagonal = row[j + 1];
      row[j + 1] = std::min({substituted, row[j] + 1, diagonal + 1});
    }
  }
  return row[b.size()];
}

}  // namespace vireo
