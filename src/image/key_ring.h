#pragma once

#include <string>
#include <vector>

#include "vocab/result.h"

namespace vireo::image {

/// The passphrases that the user gave for encrypted images. Each is tried where an image asks for one. Any
/// thread.
void offer_passphrase(std::string passphrase, std::string const& id = {});
/// All of the file, up to 512 KiB, as cryptsetup takes it.
Result<> offer_key_file(std::string const& path, std::string const& id = {});
/// The one with this id; without an id the only one. Errc::invalid: none, or several.
Result<std::string> passphrase_for_new(std::string const& id);
std::vector<std::string> offered_passphrases();
void forget_passphrases();
/// The id of what --new-key-file gives: a passphrase that an image is to get.
inline constexpr char const* new_key_id{"new"};

}  // namespace vireo::image
