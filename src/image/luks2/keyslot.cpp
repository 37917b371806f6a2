#include "image/luks2/keyslot.h"

#include <argon2.h>
#include <fmt/format.h>

#include <algorithm>

#include "image/luks/key_material.h"
#include "vocab/numbers.h"

namespace vireo::image::luks2 {

Result<luks::Key> derive(Derivation const& how, ConstBytes passphrase, std::size_t bytes) {
  if (how.kind == "pbkdf2") return luks::derive_key(how.hash, passphrase, how.salt, how.rounds, bytes);
  auto key = luks::Key{bytes};
  auto const type = how.kind == "argon2id" ? Argon2_id : Argon2_i;
  auto const status = ::argon2_hash(how.rounds, how.memory_kib, how.lanes, passphrase.data(), passphrase.size(),
                                    how.salt.data(), how.salt.size(), key.writable().data(), bytes, nullptr, 0,
                                    type, ARGON2_VERSION_13);
  if (status == ARGON2_OK) return key;
  return fail(Errc::io, fmt::format("LUKS2: {} over {} KiB: {}", how.kind, how.memory_kib,
                                    ::argon2_error_message(status)));
}

Result<std::optional<luks::Key>> open_keyslot(Metadata const& metadata, Keyslot const& slot,
                                              luks::ReadHeader const& read, ConstBytes passphrase) {
  auto area_key = TRY(derive(slot.derivation, passphrase, slot.area_key_bytes));
  auto const cipher = TRY(luks::Cipher::create(slot.cipher, slot.mode, std::move(area_key)));
  auto material = luks::Key{align_up(u64{luks::stripe_count} * slot.key_bytes, luks::sector)};
  TRY(read(slot.area, material.writable()));
  TRY(cipher.decrypt(0, material.writable()));
  auto key = TRY(luks::merge_key(slot.split_hash, slot.key_bytes, material.bytes()));
  auto const& digest = metadata.digest;
  auto const value =
      TRY(luks::derive_key(digest.hash, key.bytes(), digest.salt, digest.iterations, digest.value.size()));
  if (!std::ranges::equal(value.bytes(), digest.value)) return std::nullopt;
  return key;
}

Result<std::vector<std::byte>> seal_keyslot(Keyslot const& slot, ConstBytes passphrase, luks::Key const& key) {
  auto area_key = TRY(derive(slot.derivation, passphrase, slot.area_key_bytes));
  auto const cipher = TRY(luks::Cipher::create(slot.cipher, slot.mode, std::move(area_key)));
  auto material = TRY(luks::split_key(slot.split_hash, key));
  material.resize(align_up(material.size(), luks::sector));
  TRY(cipher.encrypt(0, material));
  return material;
}

Result<std::optional<luks::Key>> find_key(Metadata const& metadata, luks::ReadHeader const& read,
                                          ConstBytes passphrase) {
  for (auto const priority : {2u, 1u, 0u}) {
    for (auto const number : metadata.digest.keyslots) {
      auto const found = metadata.keyslots.find(number);
      if (found == metadata.keyslots.end() || found->second.priority != priority) continue;
      if (auto key = TRY_IN(fmt::format("key slot {}", number),
                            open_keyslot(metadata, found->second, read, passphrase))) {
        return key;
      }
    }
  }
  return std::nullopt;
}

Result<std::vector<u32>> slots_of(Metadata const& metadata, luks::ReadHeader const& read,
                                  ConstBytes passphrase) {
  auto numbers = std::vector<u32>{};
  for (auto const& [number, slot] : metadata.keyslots) {
    if (TRY(open_keyslot(metadata, slot, read, passphrase))) numbers.push_back(number);
  }
  return numbers;
}

}  // namespace vireo::image::luks2
