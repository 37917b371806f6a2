#pragma once

#include <bit>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "vocab/bytes.h"

namespace vireo::image::vhd {

/// Up to the first zero. What is no character becomes U+FFFD.
std::string utf8_from_utf16(ConstBytes bytes, std::endian order);
/// Nothing when it is not UTF-8.
std::optional<std::vector<std::byte>> utf16_from_utf8(std::string_view text, std::endian order);

}  // namespace vireo::image::vhd
