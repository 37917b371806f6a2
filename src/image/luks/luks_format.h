#pragma once

#include "image/image_format.h"

namespace vireo::image::luks {

/// A disk encrypted as a whole (LUKS1 or LUKS2), as cryptsetup makes it. Never found by content: what a guest
/// encrypts on its own raw disk looks the same.
extern ImageFormat const format;

}  // namespace vireo::image::luks
