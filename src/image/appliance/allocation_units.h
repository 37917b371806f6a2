#pragma once

#include <optional>
#include <string_view>

#include "vocab/integers.h"

namespace vireo::image::appliance {

/// "byte * 2^30" (DSP0004, annex C.1), and the words of OVF 0.9: "MegaBytes". Empty: `otherwise`.
std::optional<u64> allocation_unit(std::string_view text, u64 otherwise);

}  // namespace vireo::image::appliance
