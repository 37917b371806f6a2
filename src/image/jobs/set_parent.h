#pragma once

#include "image/jobs/open_disk.h"

namespace vireo::image {

/// Puts another image behind a layer, or none (null), in one step; the layer's dirty bitmaps stay good. Nobody
/// has its handles open; its lock is the caller's.
Result<> set_parent(Layer const& layer, Layer const* parent);

/// Errc::unsupported when that layer's format cannot.
Result<> check_can_set_parent(Layer const& layer);

}  // namespace vireo::image
