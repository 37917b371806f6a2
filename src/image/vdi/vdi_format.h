#pragma once

#include "image/image_format.h"

namespace vireo::image::vdi {

extern ImageFormat const format;

}  // namespace vireo::image::vdi
