#pragma once

#include <map>
#include <string>
#include <string_view>

#include "vocab/result.h"

namespace vireo::image {

/// SCHEME://AUTHORITY/PATH?KEY=VALUE&...; the parts are decoded.
struct Url {
  std::string scheme;
  std::string authority;
  std::string path;  // without the '/' in front
  std::map<std::string, std::string> query;

  /// Errc::invalid when the query has other keys than these.
  Result<> allow(std::initializer_list<std::string_view> keys) const;
  std::string value(std::string const& key, std::string_view otherwise = {}) const;
};
Result<Url> parse_url(std::string_view text);

}  // namespace vireo::image
