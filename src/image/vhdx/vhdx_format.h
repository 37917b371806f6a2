#pragma once

#include "image/image_format.h"

namespace vireo::image::vhdx {

extern ImageFormat const format;

}  // namespace vireo::image::vhdx
