#pragma once

#include "display/screen.h"
#include "vocab/result.h"

namespace vireo::display {

/// A picture as a PNG file (ISO/IEC 15948), 8 bits a colour. Errc::invalid: it has no pixels.
Result<std::vector<u8>> to_png(Picture const& picture);

}  // namespace vireo::display
