#pragma once

#include <span>

namespace vireo::cli {

/// `vireo export IMAGE`: serves a disk over NBD. `arguments` follow the word "export". Yields the exit status.
int export_command(std::span<char const* const> arguments);

}  // namespace vireo::cli
