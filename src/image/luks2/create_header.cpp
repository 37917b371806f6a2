#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>
#include <set>

#include "host/clock.h"
#include "image/key_ring.h"
#include "image/luks2/keyslot.h"
#include "image/luks2/spec.h"
#include "image/luks2/volume.h"
#include "vocab/numbers.h"

namespace vireo::image::luks2 {
namespace {

/// Slots are given spaces of this size; cryptsetup does the same.
u64 area_for(u32 key_bytes) { return align_up(u64{luks::stripe_count} * key_bytes, area_alignment); }

Result<u64> nanoseconds_for(Derivation const& how) {
  auto const start = host::monotonic_ns();
  static_cast<void>(TRY(derive(how, how.salt, 32)));
  return std::max<u64>(host::monotonic_ns() - start, 1);
}

/// First the memory grows up to half of the machine's or cryptsetup's usual most, then the passes.
Result<Derivation> fit(Derivation how, DerivationWish const& wish) {
  constexpr auto probe_kib = u32{8 * 1024};
  constexpr auto fewest_passes = u32{4};
  constexpr auto least_kib = u64{32};
  auto const pages = static_cast<u64>(std::max(::sysconf(_SC_PHYS_PAGES), 0L));
  auto const most_kib = std::min<u64>(most_memory_kib, pages * page_size / KiB / 2);
  how.rounds = wish.rounds == 0 ? fewest_passes : wish.rounds;
  how.memory_kib = wish.memory_kib == 0 ? probe_kib : wish.memory_kib;
  if (wish.rounds != 0 && wish.memory_kib != 0) return how;
  auto const per_unit = static_cast<double>(TRY(nanoseconds_for(how))) / how.memory_kib / how.rounds;
  auto const units = static_cast<double>(wish.milliseconds) * 1e6 / per_unit;  // KiB x passes
  if (wish.memory_kib == 0) {
    auto const kib = std::clamp<u64>(static_cast<u64>(units / how.rounds), least_kib, most_kib);
    how.memory_kib = std::max(static_cast<u32>(kib), 8 * how.lanes);
  }
  if (wish.rounds == 0)
    how.rounds = std::max(fewest_passes, static_cast<u32>(std::min(units / how.memory_kib, 1e6)));
  return how;
}

}  // namespace

Result<Derivation> choose_derivation(DerivationWish const& wish) {
  auto how = Derivation{.kind = wish.kind};
  how.salt.resize(salt_bytes);
  TRY(luks::fill_random(how.salt));
  if (wish.kind == "pbkdf2") {
    how.hash = wish.hash;
    how.rounds = 20'000;
    auto const took = TRY(nanoseconds_for(how));
    auto const wanted =
        double{20'000} * static_cast<double>(wish.milliseconds) * 1e6 / static_cast<double>(took);
    how.rounds = wish.rounds != 0 ? wish.rounds
                                  : static_cast<u32>(std::clamp(wanted, double{luks::fewest_iterations},
                                                                double{luks::most_iterations}));
    return how;
  }
  auto const processors = static_cast<u32>(std::clamp(::sysconf(_SC_NPROCESSORS_ONLN), 1L, 4L));
  how.lanes = wish.lanes == 0 ? processors : wish.lanes;
  return fit(std::move(how), wish);
}

Result<DerivationWish> read_wish(OptionReader& options, std::string const& prefix, u64 milliseconds) {
  auto wish = DerivationWish{.kind = options.text(prefix + "pbkdf", "argon2id"), .milliseconds = milliseconds};
  auto const memory = TRY(options.size(prefix + "pbkdf-memory", 0)) / KiB;
  auto const rounds = TRY(options.size(prefix + "pbkdf-force-iterations", 0));
  auto const lanes = TRY(options.size(prefix + "pbkdf-parallel", 0));
  if (wish.kind != "argon2id" && wish.kind != "argon2i" && wish.kind != "pbkdf2")
    return fail(Errc::invalid, fmt::format("{}pbkdf '{}': argon2id, argon2i or pbkdf2", prefix, wish.kind));
  auto const good = wish.kind == "pbkdf2" ? rounds <= luks::most_iterations && memory == 0 && lanes == 0
                                          : memory <= most_memory_kib && lanes <= most_lanes &&
                                                (memory == 0 || memory >= 8 * std::max<u64>(lanes, 4)) &&
                                                rounds <= most_kib_passes / std::max<u64>(memory, 32);
  if (!good)
    return fail(Errc::invalid,
                fmt::format("{}pbkdf-memory, -force-iterations, -parallel: out of range", prefix));
  wish.memory_kib = static_cast<u32>(memory);
  wish.rounds = static_cast<u32>(rounds);
  wish.lanes = static_cast<u32>(lanes);
  return wish;
}

Result<NewHeader> read_options(OptionReader& options, luks::NewVolume volume) {
  auto wanted = NewHeader{.wish = TRY(read_wish(options, "", volume.milliseconds)),
                          .sector = TRY(options.size("sector-size", 512)),
                          .label = options.text("label", ""),
                          .subsystem = options.text("subsystem", "")};
  wanted.wish.hash = volume.hash;
  wanted.volume = std::move(volume);
  auto const sector = wanted.sector;
  if (sector != 512 && sector != 1024 && sector != 2048 && sector != 4096)
    return fail(Errc::invalid, fmt::format("sector-size {}: 512, 1024, 2048 or 4096", sector));
  constexpr auto longest = header_at::label_text - 1;
  if (wanted.label.size() > longest || wanted.subsystem.size() > longest)
    return fail(Errc::invalid, fmt::format("label and subsystem have at most {} bytes", longest));
  return wanted;
}

Result<std::pair<u32, Keyslot>> place_keyslot(Header const& header, std::optional<u32> number,
                                              DerivationWish const& wish) {
  auto const& metadata = header.metadata;
  auto const key_bytes = metadata.keyslots.empty() ? u32{64} : metadata.keyslots.begin()->second.key_bytes;
  auto const first = 2 * header.area_bytes;
  auto const end = first + metadata.keyslots_bytes;
  auto chosen = number.value_or(0);
  while (!number && chosen < slot_count && metadata.keyslots.contains(chosen)) ++chosen;
  if (chosen >= slot_count) return fail(Errc::no_space, "LUKS2: all key slots are taken");
  if (metadata.keyslots.contains(chosen))
    return fail(Errc::busy, fmt::format("LUKS2: key slot {} is taken", chosen));
  auto slot = Keyslot{.key_bytes = key_bytes,
                      .split_hash = "sha256",
                      .cipher = "aes",
                      .mode = "xts-plain64",
                      .area_key_bytes = 64,
                      .area = first,
                      .area_bytes = area_for(key_bytes)};
  auto taken = std::set<std::pair<u64, u64>>{};
  for (auto const& [each, other] : metadata.keyslots) taken.insert({other.area, other.area + other.area_bytes});
  for (auto const& [from, to] : taken) {
    if (from >= slot.area + slot.area_bytes) break;
    slot.area = std::max(slot.area, align_up(to, area_alignment));
  }
  if (slot.area > end || slot.area_bytes > end - slot.area)
    return fail(Errc::no_space, "LUKS2: no room for another key slot");
  slot.derivation = TRY(choose_derivation(wish));
  return std::pair{chosen, std::move(slot)};
}

Result<std::vector<std::byte>> create_header(NewHeader const& wanted) {
  auto const passphrase = TRY(passphrase_for_new(wanted.volume.secret));
  auto key = luks::Key{wanted.volume.key_bytes};
  TRY(luks::fill_random(key.writable()));
  auto header = Header{.area_bytes = smallest_area,
                       .sequence = 1,
                       .label = wanted.label,
                       .subsystem = wanted.subsystem,
                       .uuid = TRY(luks::new_uuid_text())};
  auto& metadata = header.metadata;
  metadata.keyslots_bytes = usual_payload - 2 * smallest_area;
  metadata.segment = {.start = usual_payload,
                      .cipher = wanted.volume.cipher,
                      .mode = wanted.volume.mode,
                      .sector = wanted.sector};
  auto& digest = metadata.digest;
  digest = {.hash = wanted.volume.hash, .iterations = luks::fewest_iterations};
  digest.salt.resize(salt_bytes);
  TRY(luks::fill_random(digest.salt));
  auto const size = TRY(luks::digest_size(digest.hash));
  auto const value = TRY(luks::derive_key(digest.hash, key.bytes(), digest.salt, digest.iterations, size));
  digest.value.assign(value.bytes().begin(), value.bytes().end());
  auto [number, slot] = TRY(place_keyslot(header, 0, wanted.wish));
  slot.key_bytes = wanted.volume.key_bytes;
  slot.area_bytes = area_for(slot.key_bytes);
  auto const material = TRY(seal_keyslot(slot, std::as_bytes(std::span{passphrase}), key));
  auto bytes = std::vector<std::byte>(usual_payload);
  std::ranges::copy(material, bytes.begin() + static_cast<std::ptrdiff_t>(slot.area));
  metadata.keyslots[number] = std::move(slot);
  header.json = write_metadata(metadata, header.area_bytes);
  std::ranges::copy(TRY(encode_header(header, Copy::first)), bytes.begin());
  std::ranges::copy(TRY(encode_header(header, Copy::second)),
                    bytes.begin() + static_cast<std::ptrdiff_t>(header.area_bytes));
  return bytes;
}

}  // namespace vireo::image::luks2
