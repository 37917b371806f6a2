#pragma once

#include "image/luks/key_change.h"
#include "image/luks2/volume.h"

namespace vireo::image::luks2 {

/// As luks::change_keys, for version 2. A new slot is made as `wish` says.
Result<> change_keys(Storage const& storage, luks::KeyChange const& change, DerivationWish const& wish);

}  // namespace vireo::image::luks2
