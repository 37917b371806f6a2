#pragma once

#include "image/image_format.h"

namespace vireo::image::vmdk {

extern ImageFormat const format;

}  // namespace vireo::image::vmdk
