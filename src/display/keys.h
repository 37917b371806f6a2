#pragma once

#include <string_view>
#include <vector>

#include "vocab/integers.h"
#include "vocab/result.h"

namespace vireo::display {

/// Keyboard input as a PC's keyboard sends it: scan codes of set 1, a US layout.
using ScanCodes = std::vector<u8>;

/// Presses the named keys in their order and lets them go in the reverse one. Errc::invalid names an unknown
/// key and the nearest that there is.
Result<ScanCodes> press(std::vector<std::string> const& keys);

/// One entry for each character, pressed and let go. Errc::invalid: a character that such a keyboard lacks.
Result<std::vector<ScanCodes>> type(std::string_view text);

}  // namespace vireo::display
