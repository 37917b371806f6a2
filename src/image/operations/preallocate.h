#pragma once

#include <string>

#include "image/operations/create.h"

namespace vireo::image {

/// Gives the disk from `from` on its place in the file.
Result<> preallocate(std::string const& path, std::string const& format, u64 from, Preallocation how);

}  // namespace vireo::image
