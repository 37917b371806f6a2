#pragma once

#include <source_location>
#include <string_view>

#include "vocab/result.h"

namespace vireo::host {

/// The class of an errno value.
Errc errc_of(int error_number);
/// "what: No space left on device", with the Errc that belongs to it.
std::unexpected<Error> fail_errno(int error_number, std::string_view what,
                                  std::source_location at = std::source_location::current());

}  // namespace vireo::host
