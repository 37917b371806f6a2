#pragma once

#include "image/image_format.h"

namespace vireo::image::qcow2 {

extern ImageFormat const format;

}  // namespace vireo::image::qcow2
