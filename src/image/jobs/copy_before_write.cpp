#include "image/jobs/copy_before_write.h"

#include <algorithm>

#include "vocab/numbers.h"

namespace vireo::image {
namespace {

constexpr u64 granule{64 * KiB};

}  // namespace

Result<std::shared_ptr<CopyBeforeWrite>> CopyBeforeWrite::create(BlockImage& target, u64 bytes,
                                                                 JobControl& control, bool compare) {
  auto pending = TRY(DirtyBitmap::create("backup", bytes, granule));
  return std::shared_ptr<CopyBeforeWrite>{new CopyBeforeWrite{target, std::move(pending), control, compare}};
}

void CopyBeforeWrite::before(BlockImage& disk, Change const& change) {
  if (change.length == 0) return;
  auto const last = (change.at + change.length - 1) / granule;
  for (auto number = change.at / granule; number <= last; ++number) preserve(disk, number);
}

bool CopyBeforeWrite::any_busy(DirtyRange const& range) const {
  auto const found = busy_.lower_bound(range.start / granule);
  return found != busy_.end() && *found * granule < range.start + range.length;
}

/// The guest's thread must not write before this is over, whoever does it.
void CopyBeforeWrite::preserve(BlockImage& disk, u64 number) {
  auto const start = number * granule;
  auto const range = DirtyRange{start, std::min(granule, pending_.bytes() - start)};
  {
    auto lock = std::unique_lock{mutex_};
    settled_.wait(lock, [&] { return !any_busy(range); });
    auto const next = pending_.next(start);
    if (error_ || !next || next->start >= start + range.length) return;
    busy_.insert(number);
  }
  auto piece = Piece{};
  auto outcome = piece.read(disk, range.start, range.length);
  if (outcome) outcome = piece.write(target_, compare_);
  settle(range, outcome);
  if (!outcome) control_.wake();
}

void CopyBeforeWrite::settle(DirtyRange const& range, Result<> const& outcome) {
  {
    auto const lock = std::lock_guard{mutex_};
    if (outcome) pending_.clear(range.start, range.length);
    if (!outcome && !error_) error_ = outcome.error();
    for (auto at = range.start; at < range.start + range.length; at += granule) busy_.erase(at / granule);
  }
  settled_.notify_all();
}

u64 CopyBeforeWrite::pending_bytes() const {
  auto const lock = std::lock_guard{mutex_};
  return pending_.info().dirty_bytes;
}

/// The next range that nobody copies.
std::optional<DirtyRange> CopyBeforeWrite::claim() {
  auto lock = std::unique_lock{mutex_};
  auto range = pending_.next(next_);
  if (!range) range = pending_.next(0);
  if (!range || error_) return std::nullopt;
  range->length = std::min(range->length, Piece::largest - range->start % Piece::largest);
  auto const busy = busy_.lower_bound(range->start / granule);
  if (busy != busy_.end() && *busy * granule < range->start + range->length) {
    range->length = *busy * granule - range->start;
    next_ = (*busy + 1) * granule;
  } else {
    next_ = range->start + range->length;
  }
  for (auto at = range->start; at < range->start + range->length; at += granule) busy_.insert(at / granule);
  return range;
}

Result<u64> CopyBeforeWrite::copy_next(LiveDisk& disk) {
  auto range = std::optional<DirtyRange>{};
  // First inside, then claimed: who waits for the claim is inside, too.
  auto outcome = disk.with_image([&](BlockImage& image) -> Result<> {
    range = claim();
    return range && range->length != 0 ? piece_.read(image, range->start, range->length) : Result<>{};
  });
  {
    auto const lock = std::lock_guard{mutex_};
    if (error_) return std::unexpected{*error_};
  }
  if (!range) return outcome ? Result<u64>{0} : std::unexpected{std::move(outcome).error()};
  if (outcome && range->length != 0) outcome = piece_.write(target_, compare_);
  settle(*range, outcome);
  if (!outcome) return std::unexpected{std::move(outcome).error()};
  if (range->length == 0) control_.rest();  // a guest's thread is at it
  return std::max<u64>(range->length, 1);
}

}  // namespace vireo::image
