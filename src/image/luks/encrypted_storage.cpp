#include "image/luks/encrypted_storage.h"

#include <algorithm>
#include <mutex>

#include "image/luks/spec.h"
#include "vocab/numbers.h"

namespace vireo::image::luks {

Result<> EncryptedStorage::read_sectors(Storage const& storage, u64 at, Bytes into) const {
  TRY(storage.read(start_ + at, into));
  return cipher_.decrypt(at / sector, into);
}

Result<> EncryptedStorage::read(Storage const& storage, u64 at, Bytes into) const {
  auto const unit = cipher_.sector_bytes();
  if (at % unit == 0 && into.size() % unit == 0) return read_sectors(storage, at, into);
  auto const first = align_down(at, unit);
  auto bytes = std::vector<std::byte>(align_up(at + into.size(), unit) - first);
  TRY(read_sectors(storage, first, bytes));
  std::ranges::copy(ConstBytes{bytes}.subspan(at - first, into.size()), into.begin());
  return {};
}

Result<> EncryptedStorage::write(Storage const& storage, u64 at, ConstBytes from) const {
  auto const unit = cipher_.sector_bytes();
  auto const first = align_down(at, unit);
  auto const end = align_up(at + from.size(), unit);
  auto bytes = std::vector<std::byte>(end - first);
  auto const put = [&]() -> Result<> {
    std::ranges::copy(from, bytes.begin() + static_cast<std::ptrdiff_t>(at - first));
    TRY(cipher_.encrypt(first / sector, bytes));
    return storage.write(start_ + first, bytes);
  };
  if (first == at && end == at + from.size()) {
    auto const lock = std::shared_lock{*edges_};
    return put();
  }
  auto const lock = std::unique_lock{*edges_};
  if (first != at) TRY(read_sectors(storage, first, Bytes{bytes}.first(unit)));
  if (end != at + from.size()) TRY(read_sectors(storage, end - unit, Bytes{bytes}.last(unit)));
  return put();
}

}  // namespace vireo::image::luks
