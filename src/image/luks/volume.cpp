#include "image/luks/volume.h"

#include <fmt/format.h>

#include <algorithm>
#include <cstring>

#include "image/key_ring.h"
#include "image/luks/key_material.h"

namespace vireo::image::luks {
namespace {

std::unexpected<Error> corrupt(std::string_view what) {
  return fail(Errc::corrupt, fmt::format("LUKS header: {}", what));
}

std::string text_at(std::byte const* from, u64 longest) {
  // SOUND: bytes seen as characters.
  auto const all = std::string_view{reinterpret_cast<char const*>(from), longest};
  return std::string{all.substr(0, all.find('\0'))};
}
std::vector<std::byte> bytes_at(std::byte const* from, u64 count) { return {from, from + count}; }

}  // namespace

Result<> check_slot(Volume const& volume, KeySlot const& slot, std::size_t number) {
  if (!slot.active) return {};
  auto const material = u64{slot.stripes} * volume.key_bytes;
  auto const inside = slot.material >= header_at::end && slot.material <= volume.payload &&
                      material <= volume.payload - slot.material;
  if (slot.stripes == stripe_count && slot.iterations != 0 && slot.iterations <= most_iterations && inside)
    return {};
  return corrupt(fmt::format("key slot {} has {} iterations, {} stripes, and its key at offset {:#x}", number,
                             slot.iterations, slot.stripes, slot.material));
}

Result<Volume> read_volume(ReadHeader const& read, u64 room) {
  if (room < header_at::end) return corrupt("too short");
  auto header = std::vector<std::byte>(header_at::end);
  TRY(read(0, header));
  auto const* const data = header.data();
  if (std::memcmp(data, magic, sizeof magic) != 0) return corrupt("no magic number");
  if (auto const version = load_be<u16>(data + header_at::version); version != 1) {
    return fail(
        Errc::unsupported,
        fmt::format("LUKS version {} is not supported here; version 1 is (cryptsetup convert --type luks1)",
                    version));
  }
  auto volume = Volume{.cipher = text_at(data + header_at::cipher_name, header_at::text),
                       .mode = text_at(data + header_at::cipher_mode, header_at::text),
                       .hash = text_at(data + header_at::hash, header_at::text),
                       .payload = load_be<u32>(data + header_at::payload_offset) * sector,
                       .key_bytes = load_be<u32>(data + header_at::key_bytes),
                       .digest = bytes_at(data + header_at::digest, digest_bytes),
                       .digest_salt = bytes_at(data + header_at::digest_salt, salt_bytes),
                       .digest_iterations = load_be<u32>(data + header_at::digest_iterations),
                       .uuid = text_at(data + header_at::uuid, header_at::uuid_text)};
  if (volume.key_bytes < smallest_key || volume.key_bytes > largest_key)
    return corrupt(fmt::format("a key of {} bytes", volume.key_bytes));
  if (volume.digest_iterations == 0 || volume.digest_iterations > most_iterations)
    return corrupt(fmt::format("{} iterations", volume.digest_iterations));
  if (volume.payload < header_at::end || volume.payload > largest_header || volume.payload > room)
    return corrupt(fmt::format("the disk at offset {:#x}", volume.payload));
  for (auto number = std::size_t{0}; number < slot_count; ++number) {
    auto const* const from = data + header_at::slots + number * slot_at::size;
    auto& slot = volume.slots[number];
    slot = {.active = load_be<u32>(from + slot_at::active) == slot_enabled,
            .iterations = load_be<u32>(from + slot_at::iterations),
            .salt = bytes_at(from + slot_at::salt, salt_bytes),
            .material = load_be<u32>(from + slot_at::material) * sector,
            .stripes = load_be<u32>(from + slot_at::stripes)};
    TRY(check_slot(volume, slot, number));
  }
  return volume;
}

Result<FoundKey> find_key(Volume const& volume, ReadHeader const& read, std::string const& path) {
  auto const passphrases = offered_passphrases();
  if (passphrases.empty()) {
    return fail(Errc::denied, fmt::format("{}: is encrypted; give its passphrase: --key-file FILE", path));
  }
  for (auto const& passphrase : passphrases) {
    for (auto const& slot : volume.slots) {
      if (!slot.active) continue;
      if (auto key = TRY(open_slot(volume, slot, read, std::as_bytes(std::span{passphrase})))) {
        return FoundKey{*std::move(key), passphrase};
      }
    }
  }
  return fail(Errc::denied, fmt::format("{}: is encrypted, and the passphrase is wrong", path));
}

Result<Cipher> unlock(Volume const& volume, ReadHeader const& read, std::string const& path) {
  auto found = TRY(find_key(volume, read, path));
  return Cipher::create(volume.cipher, volume.mode, std::move(found.key));
}

std::vector<Fact> describe_volume(Volume const& volume, bool inside_another) {
  auto const dash = std::min(volume.mode.find('-'), volume.mode.size());
  auto const chaining = volume.mode.substr(0, dash);
  auto const numbers = dash == volume.mode.size() ? std::string{} : volume.mode.substr(dash + 1);
  auto const colon = numbers.find(':');
  auto facts = std::vector<Fact>{{"ivgen alg", numbers.substr(0, colon)}, {"hash alg", volume.hash}};
  if (colon != std::string::npos) facts.push_back({"ivgen hash alg", numbers.substr(colon + 1)});
  facts.push_back(
      {"cipher alg", fmt::format("{}-{}", volume.cipher, volume.key_bytes * (chaining == "xts" ? 4 : 8))});
  facts.push_back({"uuid", volume.uuid});
  if (inside_another) facts.push_back({"format", std::string{"luks"}});
  facts.push_back({"cipher mode", chaining});
  auto slots = FactList{{}, true};
  for (auto const& slot : volume.slots) {
    auto each = FactList{{{"active", slot.active}}, false};
    if (slot.active) each.facts.push_back({"iters", u64{slot.iterations}});
    each.facts.push_back({"key offset", slot.material});
    if (slot.active) each.facts.push_back({"stripes", u64{slot.stripes}});
    slots.facts.push_back({"", std::move(each)});
  }
  facts.push_back({"slots", std::move(slots)});
  facts.push_back({"payload offset", volume.payload});
  facts.push_back({"master key iters", u64{volume.digest_iterations}});
  return facts;
}

}  // namespace vireo::image::luks
