#include <fmt/format.h>

#include <algorithm>
#include <cstring>

#include "host/clock.h"
#include "image/key_ring.h"
#include "image/luks/key_material.h"
#include "image/luks/volume.h"
#include "image/unique_id.h"
#include "vocab/numbers.h"

namespace vireo::image::luks {

Result<u32> iterations_for(std::string const& hash, u32 key_bytes, u64 milliseconds) {
  constexpr auto probe = u32{20'000};
  auto const salt = std::vector<std::byte>(salt_bytes);
  auto const start = host::monotonic_ns();
  static_cast<void>(TRY(derive_key(hash, salt, salt, probe, key_bytes)));
  auto const took = std::max<u64>(host::monotonic_ns() - start, 1);
  auto const count =
      static_cast<double>(probe) * static_cast<double>(milliseconds) * 1e6 / static_cast<double>(took);
  return static_cast<u32>(std::clamp(count, double{fewest_iterations}, double{most_iterations}));
}

Result<std::string> new_uuid_text() {
  auto const id = TRY(new_unique_id());
  auto text = std::string{};
  for (auto index = std::size_t{0}; index < id.size(); ++index) {
    if (index == 4 || index == 6 || index == 8 || index == 10) text += '-';
    text += fmt::format("{:02x}", std::to_integer<unsigned>(id[index]));
  }
  return text;
}

void encode_slot(KeySlot const& slot, Bytes into) {
  store_be<u32>(into.data() + slot_at::active, slot.active ? slot_enabled : slot_disabled);
  store_be<u32>(into.data() + slot_at::iterations, slot.iterations);
  std::ranges::copy(slot.salt, into.data() + slot_at::salt);
  store_be<u32>(into.data() + slot_at::material, static_cast<u32>(slot.material / sector));
  store_be<u32>(into.data() + slot_at::stripes, slot.stripes);
}

namespace {

void put_text(std::vector<std::byte>& header, u64 at, std::string const& text) {
  std::memcpy(header.data() + at, text.data(), text.size());
}

void encode(Volume const& volume, std::vector<std::byte>& header) {
  auto* const data = header.data();
  std::memcpy(data, magic, sizeof magic);
  store_be<u16>(data + header_at::version, 1);
  put_text(header, header_at::cipher_name, volume.cipher);
  put_text(header, header_at::cipher_mode, volume.mode);
  put_text(header, header_at::hash, volume.hash);
  store_be<u32>(data + header_at::payload_offset, static_cast<u32>(volume.payload / sector));
  store_be<u32>(data + header_at::key_bytes, volume.key_bytes);
  std::ranges::copy(volume.digest, data + header_at::digest);
  std::ranges::copy(volume.digest_salt, data + header_at::digest_salt);
  store_be<u32>(data + header_at::digest_iterations, volume.digest_iterations);
  put_text(header, header_at::uuid, volume.uuid);
  for (auto number = std::size_t{0}; number < slot_count; ++number) {
    encode_slot(volume.slots[number],
                Bytes{header}.subspan(header_at::slots + number * slot_at::size, slot_at::size));
  }
}

}  // namespace

Result<NewVolume> read_options(OptionReader& options, std::string const& prefix) {
  auto wanted = NewVolume{};
  auto const cipher = options.text(prefix + "cipher-alg", "aes-256");
  auto const mode = options.text(prefix + "cipher-mode", "xts");
  auto const numbers = options.text(prefix + "ivgen-alg", "plain64");
  auto const numbers_hash = options.text(prefix + "ivgen-hash-alg", numbers == "essiv" ? "sha256" : "");
  wanted.hash = options.text(prefix + "hash-alg", "sha256");
  wanted.milliseconds = TRY(options.size(prefix + "iter-time", 2000));
  if (cipher != "aes-128" && cipher != "aes-192" && cipher != "aes-256")
    return fail(Errc::unsupported, fmt::format("cipher-alg '{}': aes-128, aes-192 or aes-256", cipher));
  wanted.secret = options.text(prefix + "key-secret", "");
  auto const bits = static_cast<u32>(std::stoul(cipher.substr(4)));
  wanted.key_bytes = bits / (mode == "xts" ? 4 : 8);
  wanted.mode = mode + "-" + numbers + (numbers_hash.empty() ? "" : ":" + numbers_hash);
  auto any = Key{wanted.key_bytes};
  TRY(fill_random(any.writable()));  // XTS refuses a key of two equal halves
  static_cast<void>(TRY(Cipher::create(wanted.cipher, wanted.mode, std::move(any))));
  static_cast<void>(TRY(digest_size(wanted.hash)));
  return wanted;
}

Result<std::vector<std::byte>> create_volume(NewVolume const& wanted) {
  auto const passphrase = TRY(passphrase_for_new(wanted.secret));
  auto volume =
      Volume{.cipher = wanted.cipher, .mode = wanted.mode, .hash = wanted.hash, .key_bytes = wanted.key_bytes};
  volume.uuid = TRY(new_uuid_text());
  auto const spacing = align_up(u64{stripe_count} * wanted.key_bytes, material_alignment);
  for (auto number = std::size_t{0}; number < slot_count; ++number)
    volume.slots[number].material = material_alignment + number * spacing;
  volume.payload = material_alignment + slot_count * spacing;

  auto key = Key{wanted.key_bytes};
  TRY(fill_random(key.writable()));
  volume.digest_salt.resize(salt_bytes);
  TRY(fill_random(volume.digest_salt));
  volume.digest_iterations = TRY(iterations_for(wanted.hash, wanted.key_bytes, wanted.milliseconds / 8));
  auto const digest =
      TRY(derive_key(volume.hash, key.bytes(), volume.digest_salt, volume.digest_iterations, digest_bytes));
  volume.digest.assign(digest.bytes().begin(), digest.bytes().end());
  auto& slot = volume.slots[0];
  slot.active = true;
  slot.salt.resize(salt_bytes);
  TRY(fill_random(slot.salt));
  slot.iterations = TRY(iterations_for(wanted.hash, wanted.key_bytes, wanted.milliseconds));
  auto const material = TRY(seal_slot(volume, slot, std::as_bytes(std::span{passphrase}), key));

  auto header = std::vector<std::byte>(volume.payload);
  encode(volume, header);
  std::ranges::copy(material, header.begin() + static_cast<std::ptrdiff_t>(slot.material));
  return header;
}

}  // namespace vireo::image::luks
