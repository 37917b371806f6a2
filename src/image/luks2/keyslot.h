#pragma once

#include <optional>

#include "image/luks/volume.h"
#include "image/luks2/metadata.h"

namespace vireo::image::luks2 {

/// Errc::io when there is no memory for it.
Result<luks::Key> derive(Derivation const& how, ConstBytes passphrase, std::size_t bytes);
/// The disk's key, or nothing when the passphrase is not this slot's.
Result<std::optional<luks::Key>> open_keyslot(Metadata const& metadata, Keyslot const& slot,
                                              luks::ReadHeader const& read, ConstBytes passphrase);
/// What to write into a slot's area.
Result<std::vector<std::byte>> seal_keyslot(Keyslot const& slot, ConstBytes passphrase, luks::Key const& key);
/// By the slots' priorities.
Result<std::optional<luks::Key>> find_key(Metadata const& metadata, luks::ReadHeader const& read,
                                          ConstBytes passphrase);
/// The numbers of the slots that a passphrase opens.
Result<std::vector<u32>> slots_of(Metadata const& metadata, luks::ReadHeader const& read,
                                  ConstBytes passphrase);

}  // namespace vireo::image::luks2
