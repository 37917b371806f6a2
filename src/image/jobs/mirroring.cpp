#include "image/jobs/mirroring.h"

#include <algorithm>

#include "vocab/numbers.h"

namespace vireo::image {
namespace {

constexpr u64 granule{64 * KiB};

}  // namespace

Result<std::shared_ptr<Mirroring>> Mirroring::create(BlockImage& target, u64 bytes, JobControl& control) {
  auto dirty = TRY(DirtyBitmap::create("mirror", bytes, granule));
  return std::shared_ptr<Mirroring>{new Mirroring{target, std::move(dirty), control}};
}

void Mirroring::before(BlockImage&, Change const& change) {
  if (synchronous_) ranges_.lock(change.at, change.length);
}

void Mirroring::after(BlockImage& disk, Change const& change, bool done) {
  if (!synchronous_) return mark(change.at, change.length);
  // What a change that failed left behind is copied, not done again.
  auto const forwarded = done ? forward(disk, change) : Result<>{fail(Errc::io, "")};
  if (!forwarded) {
    mark(change.at, change.length);
    auto const lock = std::lock_guard{mutex_};
    if (done && !error_) error_ = forwarded.error();
  }
  ranges_.unlock(change.at, change.length);
  if (!forwarded) control_.wake();
}

/// What a discarded range reads as is not known: zeroes go to the target as such, the rest is copied later.
Result<> Mirroring::forward(BlockImage& disk, Change const& change) {
  if (change.kind != Change::Kind::discard) return change.apply_to(target_);
  for (auto at = change.at; at < change.at + change.length;) {
    auto const extent = disk.extent_at(at);
    auto const length = extent ? std::min(extent->length, change.at + change.length - at) : change.length;
    if (!extent || extent->presence != BlockImage::Presence::zero) {
      mark(at, change.at + change.length - at);
      control_.wake();
      return {};
    }
    TRY(target_.write_zeroes(at, length, true));
    at += length;
  }
  return {};
}

void Mirroring::mark(u64 at, u64 length) {
  auto const lock = std::lock_guard{mutex_};
  dirty_.mark(at, length);
}

u64 Mirroring::dirty_bytes() const {
  auto const lock = std::lock_guard{mutex_};
  return dirty_.info().dirty_bytes;
}

std::optional<Error> Mirroring::take_error() {
  auto const lock = std::lock_guard{mutex_};
  if (error_) at_target_ = true;
  return std::exchange(error_, std::nullopt);
}

std::optional<DirtyRange> Mirroring::take_next() {
  auto const lock = std::lock_guard{mutex_};
  auto range = dirty_.next(next_);
  if (!range) {
    went_round_ = true;
    next_ = 0;
    range = dirty_.next(0);
  }
  if (!range) return range;
  range->length = std::min(range->length, Piece::largest - range->start % Piece::largest);
  next_ = range->start + range->length;
  return range;
}

Result<u64> Mirroring::copy_next(LiveDisk& disk, bool compare) {
  auto const range = take_next();
  if (!range) return 0;
  at_target_ = false;
  auto locked = std::optional<LockedRange>{};
  auto outcome = disk.with_image([&](BlockImage& image) {
    if (synchronous_) locked.emplace(ranges_, range->start, range->length);
    {
      auto const lock = std::lock_guard{mutex_};
      dirty_.clear(range->start, range->length);
    }
    return piece_.read(image, range->start, range->length);
  });
  if (outcome) {
    at_target_ = true;
    outcome = piece_.write(target_, compare);
  }
  if (outcome) return range->length;
  mark(range->start, range->length);
  return std::unexpected{std::move(outcome).error()};
}

Result<> Mirroring::copy_rest(BlockImage& disk) {
  next_ = 0;
  while (auto const range = take_next()) {
    at_target_ = false;
    TRY(piece_.read(disk, range->start, range->length));
    at_target_ = true;
    TRY(piece_.write(target_));
    auto const lock = std::lock_guard{mutex_};
    dirty_.clear(range->start, range->length);
  }
  at_target_ = true;
  return target_.flush();
}

}  // namespace vireo::image
