#pragma once

#include <string>
#include <utility>
#include <vector>

#include "vocab/result.h"

namespace vireo::image::rbd {

/// rbd:POOL/IMAGE[@SNAPSHOT][:KEY=VALUE]...; a '\' takes the next character as it is. Keys are id (the client's
/// name), conf (Ceph's file) and any option of Ceph's.
struct Address {
  std::string pool;
  std::string image;
  std::string snapshot{};
  std::string id{};
  std::string conf{};
  std::vector<std::pair<std::string, std::string>> options{};
};
Result<Address> parse_address(std::string const& text);

}  // namespace vireo::image::rbd
