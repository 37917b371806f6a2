#include "image/url.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <charconv>
#include <vector>

namespace vireo::image {
namespace {

Result<std::string> decode(std::string_view text) {
  auto decoded = std::string{};
  for (auto at = std::size_t{0}; at < text.size(); ++at) {
    if (text[at] != '%') {
      decoded += text[at];
      continue;
    }
    auto value = 0;
    auto const digits = text.substr(at + 1, 2);
    auto const [end, failure] = std::from_chars(digits.data(), digits.data() + digits.size(), value, 16);
    if (digits.size() != 2 || failure != std::errc{} || end != digits.data() + 2 || value == 0) {
      return fail(Errc::invalid, fmt::format("'{}': '%' without two digits", text));
    }
    decoded += static_cast<char>(value);
    at += 2;
  }
  return decoded;
}

}  // namespace

Result<Url> parse_url(std::string_view text) {
  auto const scheme_end = text.find("://");
  if (scheme_end == std::string_view::npos) return fail(Errc::invalid, fmt::format("'{}' is no URL", text));
  auto url = Url{.scheme = std::string{text.substr(0, scheme_end)}, .authority = {}, .path = {}, .query = {}};
  auto rest = text.substr(scheme_end + 3);
  auto const question = rest.find('?');
  auto query = question == std::string_view::npos ? std::string_view{} : rest.substr(question + 1);
  rest = rest.substr(0, question);
  auto const slash = rest.find('/');
  url.authority = TRY(decode(rest.substr(0, slash)));
  if (slash != std::string_view::npos) url.path = TRY(decode(rest.substr(slash + 1)));
  while (!query.empty()) {
    auto const end = std::min(query.find('&'), query.size());
    auto const pair = query.substr(0, end);
    auto const equals = std::min(pair.find('='), pair.size());
    auto const value = pair.substr(std::min(equals + 1, pair.size()));
    url.query[TRY(decode(pair.substr(0, equals)))] = TRY(decode(value));
    query.remove_prefix(std::min(end + 1, query.size()));
  }
  return url;
}

Result<> Url::allow(std::initializer_list<std::string_view> keys) const {
  for (auto const& [key, value] : query) {
    if (std::ranges::find(keys, key) != keys.end()) continue;
    return fail(Errc::invalid,
                fmt::format("{}://: '{}' is not known; one of {}", scheme, key, fmt::join(keys, ", ")));
  }
  return {};
}

std::string Url::value(std::string const& key, std::string_view otherwise) const {
  auto const found = query.find(key);
  return found == query.end() ? std::string{otherwise} : found->second;
}

}  // namespace vireo::image
