#pragma once

#include "image/image_format.h"

namespace vireo::image::vhd {

extern ImageFormat const format;

}  // namespace vireo::image::vhd
