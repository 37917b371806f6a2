#include "image/appliance/allocation_units.h"

#include <algorithm>
#include <charconv>
#include <string>

#include "vocab/numbers.h"

namespace vireo::image::appliance {
namespace {

std::optional<u64> power(std::string_view text) {
  auto const hat = text.find('^');
  auto root = u64{0};
  auto exponent = 0u;
  auto const left = text.substr(0, hat);
  if (std::from_chars(left.data(), left.data() + left.size(), root).ptr != left.data() + left.size())
    return std::nullopt;
  if (hat == std::string_view::npos) return root;
  auto const right = text.substr(hat + 1);
  auto const [end, error] = std::from_chars(right.data(), right.data() + right.size(), exponent);
  if (error != std::errc{} || end != right.data() + right.size() || exponent > 62) return std::nullopt;
  auto value = u64{1};
  for (auto step = 0u; step < exponent; ++step) {
    if (__builtin_mul_overflow(value, root, &value)) return std::nullopt;
  }
  return value;
}

}  // namespace

std::optional<u64> allocation_unit(std::string_view text, u64 otherwise) {
  auto word = std::string{};
  for (auto const letter : text) {
    if (letter != ' ' && letter != '\t')
      word += letter >= 'A' && letter <= 'Z' ? static_cast<char>(letter + 32) : letter;
  }
  if (word.empty()) return otherwise;
  if (word == "byte" || word == "bytes") return 1;
  if (word == "kilobytes" || word == "kb") return KiB;
  if (word == "megabytes" || word == "mb") return MiB;
  if (word == "gigabytes" || word == "gb") return GiB;
  if (!word.starts_with("byte*")) return std::nullopt;
  auto const value = power(std::string_view{word}.substr(5));
  return value && *value != 0 ? value : std::nullopt;
}

}  // namespace vireo::image::appliance
