#include <fmt/format.h>

#include <algorithm>

#include "image/key_ring.h"
#include "image/luks/key_change.h"
#include "image/luks/key_material.h"
#include "vocab/numbers.h"

namespace vireo::image::luks {
namespace {

class Changer {
 public:
  Changer(Storage const& storage, u64 start, u64 room, KeyChange const& change)
      : storage_{storage}, start_{start}, room_{room}, change_{change} {}

  Result<> run() {
    volume_ = TRY(read_volume(reader(), room_));
    if (change_.kind == KeyChange::Kind::remove) return remove(TRY(stale_slots()));
    auto const found = TRY(find_key(volume_, reader(), storage_.path()));
    auto const stale = TRY(slots_opened_by(found.passphrase));
    TRY(add(found.key));
    return change_.kind == KeyChange::Kind::replace ? remove(stale) : Result<>{};
  }

 private:
  ReadHeader reader() const {
    return [this](u64 at, Bytes into) { return storage_.read(start_ + at, into); };
  }
  Result<std::vector<std::size_t>> slots_opened_by(std::string const& passphrase) const {
    auto numbers = std::vector<std::size_t>{};
    for (auto number = std::size_t{0}; number < slot_count; ++number) {
      if (!volume_.slots[number].active) continue;
      if (TRY(open_slot(volume_, volume_.slots[number], reader(), std::as_bytes(std::span{passphrase}))))
        numbers.push_back(number);
    }
    return numbers;
  }
  Result<std::vector<std::size_t>> stale_slots() const {
    if (!change_.slot) return slots_opened_by(change_.stale.value_or(""));
    if (*change_.slot < slot_count && volume_.slots[*change_.slot].active)
      return std::vector<std::size_t>{*change_.slot};
    return fail(Errc::invalid, fmt::format("{}: key slot {} is not in use", storage_.path(), *change_.slot));
  }
  Result<std::size_t> free_slot() const {
    auto number = std::size_t{change_.slot.value_or(0)};
    while (!change_.slot && number < slot_count && volume_.slots[number].active) ++number;
    if (number >= slot_count)
      return fail(Errc::no_space, fmt::format("{}: has no free key slot", storage_.path()));
    if (volume_.slots[number].active)
      return fail(Errc::busy, fmt::format("{}: key slot {} is in use", storage_.path(), number));
    return number;
  }
  Result<> write_slot(std::size_t number) const {
    auto record = std::vector<std::byte>(slot_at::size);
    encode_slot(volume_.slots[number], record);
    TRY(storage_.write(start_ + header_at::slots + number * slot_at::size, record));
    return storage_.sync();
  }
  Result<> add(Key const& key) {
    auto const number = TRY(free_slot());
    auto& slot = volume_.slots[number];
    slot.active = true;
    slot.stripes = stripe_count;
    slot.salt.resize(salt_bytes);
    TRY(fill_random(slot.salt));
    slot.iterations = TRY(iterations_for(volume_.hash, volume_.key_bytes, change_.milliseconds));
    TRY(check_slot(volume_, slot, number));
    auto const material = TRY(seal_slot(volume_, slot, std::as_bytes(std::span{change_.fresh}), key));
    TRY(storage_.write(start_ + slot.material, material));
    TRY(storage_.sync());
    return write_slot(number);
  }
  Result<> remove(std::vector<std::size_t> const& numbers) {
    auto const active = std::ranges::count_if(volume_.slots, &KeySlot::active);
    if (numbers.empty())
      return fail(Errc::denied, fmt::format("{}: no key slot has that passphrase", storage_.path()));
    if (static_cast<std::size_t>(active) == numbers.size() && !change_.force) {
      return fail(Errc::denied,
                  fmt::format("{}: without its last key nobody opens it again (--force)", storage_.path()));
    }
    for (auto const number : numbers) {
      auto& slot = volume_.slots[number];
      slot.active = false;
      slot.iterations = 0;
      std::ranges::fill(slot.salt, std::byte{});
      TRY(write_slot(number));
      auto noise = std::vector<std::byte>(align_up(u64{stripe_count} * volume_.key_bytes, sector));
      TRY(fill_random(noise));
      TRY(storage_.write(start_ + slot.material, noise));
      TRY(storage_.sync());
    }
    return {};
  }

  Storage const& storage_;
  u64 start_;
  u64 room_;
  KeyChange const& change_;
  Volume volume_{};
};

}  // namespace

Result<std::optional<KeyChange>> read_key_change(OptionReader& options, std::string const& prefix, bool force) {
  auto const state = options.text(prefix + "state", "");
  auto const fresh = options.text(prefix + "new-secret", "");
  auto const stale = options.text(prefix + "old-secret", "");
  auto const slot = options.text(prefix + "keyslot", "");
  auto change = KeyChange{.milliseconds = TRY(options.size(prefix + "iter-time", 2000)), .force = force};
  if (state.empty()) return std::nullopt;
  if (!slot.empty()) {
    auto const good =
        slot.size() <= 2 && std::ranges::all_of(slot, [](char c) { return c >= '0' && c <= '9'; });
    if (!good) return fail(Errc::invalid, fmt::format("keyslot '{}': a number", slot));
    change.slot = static_cast<u32>(std::stoul(slot));
  }
  if (state == "inactive") {
    change.kind = KeyChange::Kind::remove;
    if (!stale.empty()) change.stale = TRY(passphrase_for_new(stale));
    if (change.slot.has_value() == change.stale.has_value())
      return fail(Errc::invalid, "state=inactive goes with either keyslot=N or old-secret=ID");
    return change;
  }
  if (state != "active" && state != "changed")
    return fail(Errc::invalid, fmt::format("state '{}': active, inactive or changed", state));
  change.kind = state == "active" ? KeyChange::Kind::add : KeyChange::Kind::replace;
  change.fresh = TRY(passphrase_for_new(fresh.empty() ? new_key_id : fresh));
  return change;
}

Result<> change_keys(Storage const& storage, u64 start, u64 room, KeyChange const& change) {
  return Changer{storage, start, room, change}.run();
}

}  // namespace vireo::image::luks
