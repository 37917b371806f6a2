#pragma once

#include <optional>

#include "image/luks/volume.h"

namespace vireo::image::luks {

/// The volume's key, or nothing when the passphrase is not this slot's.
Result<std::optional<Key>> open_slot(Volume const& volume, KeySlot const& slot, ReadHeader const& read,
                                     ConstBytes passphrase);
/// What to write for a slot: the key spread over all stripes ("anti-forensic splitter"), encrypted.
Result<std::vector<std::byte>> seal_slot(Volume const& volume, KeySlot const& slot, ConstBytes passphrase,
                                         Key const& key);

}  // namespace vireo::image::luks
