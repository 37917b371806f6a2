#pragma once

#include <optional>
#include <string>
#include <vector>

#include "vocab/bytes.h"

namespace vireo::image::luks2 {

/// RFC 4648, section 4. Nothing: not base64.
std::optional<std::vector<std::byte>> from_base64(std::string_view text);
std::string to_base64(ConstBytes bytes);

}  // namespace vireo::image::luks2
