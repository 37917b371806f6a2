#include "image/luks2/change_keys.h"

#include <fmt/format.h>

#include "image/key_ring.h"
#include "image/luks2/keyslot.h"

namespace vireo::image::luks2 {
namespace {

using luks::KeyChange;

struct Unlocked {
  luks::Key key;
  std::string passphrase;
};

class Changer {
 public:
  Changer(Storage const& storage, KeyChange const& change, DerivationWish const& wish)
      : storage_{storage}, change_{change}, wish_{wish} {}

  Result<> run() {
    auto const room = TRY(storage_.size());
    header_ = TRY_IN(storage_.path(), read_header(reader(), room));
    if (change_.kind == KeyChange::Kind::remove) return remove(TRY(stale_slots()));
    auto const unlocked = TRY(unlock_by_offered());
    if (change_.kind == KeyChange::Kind::add) return add(unlocked.key);
    auto const stale = TRY(slots_of(header_.metadata, reader(), std::as_bytes(std::span{unlocked.passphrase})));
    TRY(add(unlocked.key));
    return remove(stale);
  }

 private:
  luks::ReadHeader reader() const {
    return [this](u64 at, Bytes into) { return storage_.read(at, into); };
  }
  Result<Unlocked> unlock_by_offered() const {
    for (auto const& passphrase : offered_passphrases()) {
      if (auto key = TRY(find_key(header_.metadata, reader(), std::as_bytes(std::span{passphrase}))))
        return Unlocked{*std::move(key), passphrase};
    }
    return fail(Errc::denied,
                fmt::format("{}: no passphrase opens it; give one: --key-file FILE", storage_.path()));
  }
  Result<std::vector<u32>> stale_slots() const {
    auto const& passphrase = change_.stale.value_or("");
    if (!change_.slot) return slots_of(header_.metadata, reader(), std::as_bytes(std::span{passphrase}));
    if (header_.metadata.keyslots.contains(*change_.slot)) return std::vector<u32>{*change_.slot};
    return fail(Errc::invalid, fmt::format("{}: key slot {} is not in use", storage_.path(), *change_.slot));
  }
  Result<> commit(std::string json) {
    header_.metadata = TRY(parse_metadata(json, header_.area_bytes));
    header_.json = std::move(json);
    return write_header(storage_, header_);
  }
  Result<> add(luks::Key const& key) {
    auto [number, slot] = TRY_IN(storage_.path(), place_keyslot(header_, change_.slot, wish_));
    auto const material = TRY(seal_keyslot(slot, std::as_bytes(std::span{change_.fresh}), key));
    TRY(storage_.write(slot.area, material));
    TRY(storage_.sync());
    return commit(TRY(with_keyslot(header_.json, number, slot)));
  }
  Result<> remove(std::vector<u32> const& numbers) {
    auto const& keyslots = header_.metadata.keyslots;
    if (numbers.empty())
      return fail(Errc::denied, fmt::format("{}: no key slot has that passphrase", storage_.path()));
    if (keyslots.size() == numbers.size() && !change_.force) {
      return fail(Errc::denied,
                  fmt::format("{}: without its last key nobody opens it again (--force)", storage_.path()));
    }
    for (auto const number : numbers) {
      auto const slot = keyslots.at(number);
      auto left = TRY(without_keyslot(header_.json, number));
      TRY(commit(std::move(left)));
      auto noise = std::vector<std::byte>(slot.area_bytes);
      TRY(luks::fill_random(noise));
      TRY(storage_.write(slot.area, noise));
      TRY(storage_.sync());
    }
    return {};
  }

  Storage const& storage_;
  KeyChange const& change_;
  DerivationWish const& wish_;
  Header header_{};
};

}  // namespace

Result<> change_keys(Storage const& storage, KeyChange const& change, DerivationWish const& wish) {
  return Changer{storage, change, wish}.run();
}

}  // namespace vireo::image::luks2
