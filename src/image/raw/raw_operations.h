#pragma once

#include "image/image_format.h"

namespace vireo::image::raw {

Result<> create(CreateRequest const& request);
Result<Description> describe(Storage const& storage);
Result<> resize(Storage const& storage, u64 bytes);

}  // namespace vireo::image::raw
