#pragma once

#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "vocab/integers.h"
#include "vocab/result.h"

namespace vireo {

/// RFC 4648, chapter 4, with padding.
std::string to_base64(std::span<u8 const> bytes);
/// Errc::invalid: a character outside of the alphabet, or a length that is no multiple of four.
Result<std::vector<u8>> from_base64(std::string_view text);

}  // namespace vireo
