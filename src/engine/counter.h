#pragma once

#include <string>

#include "vocab/integers.h"

namespace vireo::engine {

/// One number of the inspect tree: "translator.exits.link".
struct Counter {
  std::string name;
  u64 value{};
};

}  // namespace vireo::engine
