#pragma once

#include <span>

namespace vireo::cli {

/// `vireo pool create|list|show|delete`
int pool_command(std::span<char const* const> arguments);
/// `vireo volume create|list|delete|resize`
int volume_command(std::span<char const* const> arguments);

}  // namespace vireo::cli
