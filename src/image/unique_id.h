#pragma once

#include <array>
#include <cstddef>

#include "vocab/bytes.h"
#include "vocab/result.h"

namespace vireo::image {

/// A UUID, by which disk files name each other. As bytes: formats differ in the order of its fields, none here
/// looks into it.
using UniqueId = std::array<std::byte, 16>;

Result<UniqueId> new_unique_id();
inline UniqueId load_unique_id(std::byte const* from) {
  auto id = UniqueId{};
  std::memcpy(id.data(), from, id.size());
  return id;
}

}  // namespace vireo::image
