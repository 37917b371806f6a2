#pragma once

#include <span>

namespace vireo::cli {

/// `vireo image ...`: build, list, path, rm, create, info. `arguments` follow the word "image". Yields the exit
/// status.
int image_command(std::span<char const* const> arguments);

}  // namespace vireo::cli
