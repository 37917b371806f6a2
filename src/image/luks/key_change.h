#pragma once

#include <optional>
#include <string>

#include "image/luks/volume.h"
#include "image/storage.h"

namespace vireo::image::luks {

/// Which passphrases open a disk. The disk itself stays as it is.
struct KeyChange {
  enum class Kind : u8 { add, remove, replace };
  Kind kind{};
  std::string fresh{};                 // add, replace: the new passphrase
  std::optional<std::string> stale{};  // remove: that of the slots that go
  std::optional<u32> slot{};           // add: into this one; remove: this one
  u64 milliseconds{2000};
  bool force{};  // removes the last slot too; then nobody opens the disk again
};
/// `stated` is the option's word: "active", "inactive" (as qemu-img), or "changed". Takes state, new-secret,
/// old-secret, keyslot and iter-time behind `prefix`; nothing when there is no `state`.
Result<std::optional<KeyChange>> read_key_change(OptionReader& options, std::string const& prefix, bool force);

/// Version 1, at `start` of the file. What is new is on stable storage before what is old goes.
Result<> change_keys(Storage const& storage, u64 start, u64 room, KeyChange const& change);

}  // namespace vireo::image::luks
