#pragma once

#include "image/image_format.h"

namespace vireo::image::raw {

extern ImageFormat const format;

}  // namespace vireo::image::raw
