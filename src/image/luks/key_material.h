#pragma once

#include <optional>

#include "image/luks/volume.h"

namespace vireo::image::luks {

/// The key spread over all stripes, any one of which is needed ("anti-forensic splitter", AFsplit), and back.
Result<std::vector<std::byte>> split_key(std::string const& hash, Key const& key);
Result<Key> merge_key(std::string const& hash, std::size_t key_bytes, ConstBytes stripes);

/// The volume's key, or nothing when the passphrase is not this slot's.
Result<std::optional<Key>> open_slot(Volume const& volume, KeySlot const& slot, ReadHeader const& read,
                                     ConstBytes passphrase);
/// What to write for a slot: the split key, encrypted.
Result<std::vector<std::byte>> seal_slot(Volume const& volume, KeySlot const& slot, ConstBytes passphrase,
                                         Key const& key);

}  // namespace vireo::image::luks
