#pragma once

#include <fmt/format.h>

#include <string_view>

#include "vocab/integers.h"
#include "vocab/result.h"

namespace vireo::image {

/// Ranges come from a guest.
inline Result<> check_range(std::string_view path, u64 at, u64 length, u64 bytes) {
  if (at <= bytes && length <= bytes - at) return {};
  return fail(Errc::invalid, fmt::format("{}: {} bytes at offset {} lie outside the disk of {} bytes", path,
                                         length, at, bytes));
}

}  // namespace vireo::image
