#pragma once

#include <span>

namespace vireo::cli {

/// `vireo run`: makes the complete spec and becomes vireo-vmm, which stands beside this program. Returns only
/// for
/// --help, --dry-run and errors.
int run_command(std::span<char const* const> arguments);

}  // namespace vireo::cli
