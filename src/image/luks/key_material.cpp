#include "image/luks/key_material.h"

#include <algorithm>
#include <array>

#include "vocab/numbers.h"

namespace vireo::image::luks {
namespace {

/// Each block of the hash's size becomes its hash, with its number in front.
Result<> diffuse(std::string const& hash, Bytes bytes) {
  auto const block = TRY(digest_size(hash));
  for (auto at = std::size_t{0}; at < bytes.size(); at += block) {
    auto const part = bytes.subspan(at, std::min(block, bytes.size() - at));
    auto number = std::array<std::byte, 4>{};
    store_be<u32>(number.data(), static_cast<u32>(at / block));
    auto const hashed = TRY(digest(hash, number, part));
    std::ranges::copy(ConstBytes{hashed}.first(part.size()), part.begin());
  }
  return {};
}

void mix(Bytes into, ConstBytes from) {
  for (auto index = std::size_t{0}; index < into.size(); ++index) into[index] ^= from[index];
}

/// Of all stripes but the last.
Result<Key> mix_stripes(std::string const& hash, std::size_t key_bytes, ConstBytes stripes) {
  auto mixed = Key{key_bytes};
  for (auto stripe = std::size_t{0}; stripe + 1 < stripe_count; ++stripe) {
    mix(mixed.writable(), stripes.subspan(stripe * key_bytes, key_bytes));
    TRY(diffuse(hash, mixed.writable()));
  }
  return mixed;
}

Result<Cipher> slot_cipher(Volume const& volume, KeySlot const& slot, ConstBytes passphrase) {
  auto key = TRY(derive_key(volume.hash, passphrase, slot.salt, slot.iterations, volume.key_bytes));
  return Cipher::create(volume.cipher, volume.mode, std::move(key));
}

}  // namespace

Result<Key> merge_key(std::string const& hash, std::size_t key_bytes, ConstBytes stripes) {
  auto key = TRY(mix_stripes(hash, key_bytes, stripes));
  mix(key.writable(), stripes.subspan((stripe_count - 1) * key_bytes, key_bytes));
  return key;
}

Result<std::vector<std::byte>> split_key(std::string const& hash, Key const& key) {
  auto const key_bytes = key.bytes().size();
  auto stripes = std::vector<std::byte>(stripe_count * key_bytes);
  auto const last = stripes.size() - key_bytes;
  TRY(fill_random(Bytes{stripes}.first(last)));
  auto mixed = TRY(mix_stripes(hash, key_bytes, stripes));
  mix(mixed.writable(), key.bytes());
  std::ranges::copy(mixed.bytes(), stripes.begin() + static_cast<std::ptrdiff_t>(last));
  return stripes;
}

Result<std::optional<Key>> open_slot(Volume const& volume, KeySlot const& slot, ReadHeader const& read,
                                     ConstBytes passphrase) {
  auto const bytes = u64{stripe_count} * volume.key_bytes;
  auto material = Key{align_up(bytes, sector)};
  TRY(read(slot.material, material.writable()));
  auto const cipher = TRY(slot_cipher(volume, slot, passphrase));
  TRY(cipher.decrypt(0, material.writable()));
  auto key = TRY(merge_key(volume.hash, volume.key_bytes, material.bytes()));
  auto const digest =
      TRY(derive_key(volume.hash, key.bytes(), volume.digest_salt, volume.digest_iterations, digest_bytes));
  if (!std::ranges::equal(digest.bytes(), volume.digest)) return std::nullopt;
  return key;
}

Result<std::vector<std::byte>> seal_slot(Volume const& volume, KeySlot const& slot, ConstBytes passphrase,
                                         Key const& key) {
  auto material = TRY(split_key(volume.hash, key));
  material.resize(align_up(material.size(), sector));
  auto const cipher = TRY(slot_cipher(volume, slot, passphrase));
  TRY(cipher.encrypt(0, material));
  return material;
}

}  // namespace vireo::image::luks
