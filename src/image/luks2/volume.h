#pragma once

#include <optional>

#include "image/luks/volume.h"
#include "image/luks2/header.h"
#include "image/operations/create.h"
#include "image/operations/describe.h"

namespace vireo::image::luks2 {

/// The disk's cipher, by the passphrases that were offered: Errc::denied when none of them opens a slot.
Result<luks::Cipher> unlock(Header const& header, luks::ReadHeader const& read, std::string const& path);
std::vector<Fact> describe_header(Header const& header);

/// How long a try to open a slot shall take, and by what; what is 0 is found by measuring.
struct DerivationWish {
  std::string kind{"argon2id"};
  std::string hash{"sha256"};
  u64 milliseconds{2000};
  u32 rounds{};
  u32 memory_kib{};
  u32 lanes{};
};
Result<Derivation> choose_derivation(DerivationWish const& wish);

/// Takes the options of a new header of version 2 that version 1 does not have: pbkdf, pbkdf-memory,
/// pbkdf-force-iterations, pbkdf-parallel, sector-size, label, subsystem.
struct NewHeader {
  luks::NewVolume volume{};
  DerivationWish wish{};
  u64 sector{512};
  std::string label{};
  std::string subsystem{};
};
Result<DerivationWish> read_wish(OptionReader& options, std::string const& prefix, u64 milliseconds);
Result<NewHeader> read_options(OptionReader& options, luks::NewVolume volume);
/// All in front of the disk, with one key slot for the passphrase offered: the one, or Errc::invalid.
Result<std::vector<std::byte>> create_header(NewHeader const& wanted);

/// Where there is room for one more slot, of a kind like the others.
Result<std::pair<u32, Keyslot>> place_keyslot(Header const& header, std::optional<u32> number,
                                              DerivationWish const& wish);

}  // namespace vireo::image::luks2
