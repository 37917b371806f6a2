#include "image/bitmaps/dirty_bitmaps.h"

#include <fmt/format.h>

#include <algorithm>

namespace vireo::image {

std::vector<BitmapInfo> DirtyBitmaps::list() const {
  auto const lock = std::lock_guard{mutex_};
  auto all = std::vector<BitmapInfo>{};
  for (auto const& each : entries_) all.push_back(each.bitmap.info());
  return all;
}

Result<DirtyBitmaps::Entry*> DirtyBitmaps::find(std::string const& name) {
  for (auto& each : entries_) {
    if (each.bitmap.name() == name) return &each;
  }
  return fail(Errc::not_found, fmt::format("Dirty bitmap '{}' not found", name));
}

Result<DirtyBitmaps::Entry*> DirtyBitmaps::find_usable(std::string const& name) {
  auto* const entry = TRY(find(name));
  if (!entry->bitmap.inconsistent) return entry;
  return fail(Errc::corrupt,
              fmt::format("bitmap '{}' is out of date: the disk was changed and it was not told; "
                          "remove it and make a full backup",
                          name));
}

/// With the lock held.
void DirtyBitmaps::count_recording() {
  recording_ = std::ranges::any_of(
      entries_, [](Entry const& each) { return each.bitmap.enabled && !each.bitmap.inconsistent; });
  announced_ = stored_are_invalid_ || (!recording_ && !must_announce_);
}

Result<> DirtyBitmaps::add(std::string const& name, u64 granularity, bool kept) {
  auto bitmap = TRY(DirtyBitmap::create(name, bytes_, granularity));
  auto const lock = std::lock_guard{mutex_};
  if (find(name)) return fail(Errc::busy, "Bitmap already exists: " + name);
  entries_.push_back({std::move(bitmap), kept});
  edited_ = true;
  count_recording();
  return {};
}

Result<> DirtyBitmaps::add(DirtyBitmap bitmap) {
  if (bitmap.bytes() != bytes_) return fail(Errc::invalid, "a bitmap of another disk size");
  auto const lock = std::lock_guard{mutex_};
  if (find(bitmap.name())) return fail(Errc::busy, "Bitmap already exists: " + bitmap.name());
  entries_.push_back({std::move(bitmap), true});
  edited_ = true;
  count_recording();
  return {};
}

Result<> DirtyBitmaps::remove(std::string const& name) {
  auto const lock = std::lock_guard{mutex_};
  auto* const entry = TRY(find(name));
  entries_.erase(entries_.begin() + (entry - entries_.data()));
  edited_ = true;
  count_recording();
  return {};
}

Result<> DirtyBitmaps::clear(std::string const& name) {
  auto const lock = std::lock_guard{mutex_};
  TRY(find_usable(name))->bitmap.clear();
  edited_ = true;
  return {};
}

Result<> DirtyBitmaps::enable(std::string const& name, bool on) {
  auto const lock = std::lock_guard{mutex_};
  TRY(find_usable(name))->bitmap.enabled = on;
  edited_ = true;
  count_recording();
  return {};
}

Result<> DirtyBitmaps::merge(std::string const& name, DirtyBitmap const& from) {
  auto const lock = std::lock_guard{mutex_};
  TRY(find_usable(name))->bitmap.merge(from);
  edited_ = true;
  return {};
}

Result<DirtyBitmap> DirtyBitmaps::copy(std::string const& name) const {
  auto const lock = std::lock_guard{mutex_};
  for (auto const& each : entries_) {
    if (each.bitmap.name() == name) return each.bitmap;
  }
  return fail(Errc::not_found, fmt::format("Dirty bitmap '{}' not found", name));
}

Result<DirtyBitmap> DirtyBitmaps::take(std::string const& name) {
  // What is stored tells less than what the disk has as soon as the bitmap is empty.
  TRY(announce());
  auto const lock = std::lock_guard{mutex_};
  auto* const entry = TRY(find_usable(name));
  auto taken = entry->bitmap;
  entry->bitmap.clear();
  edited_ = true;
  return taken;
}

Result<> DirtyBitmaps::announce() {
  auto const one_at_a_time = std::lock_guard{announcing_};
  if (announced_) return {};
  TRY(invalidate_stored());
  auto const lock = std::lock_guard{mutex_};
  stored_are_invalid_ = true;
  announced_ = true;
  return {};
}

void DirtyBitmaps::changed(u64 at, u64 length) {
  if (!recording_.load(std::memory_order_relaxed)) return;
  auto const lock = std::lock_guard{mutex_};
  for (auto& each : entries_) {
    if (each.bitmap.enabled && !each.bitmap.inconsistent) each.bitmap.mark(at, length);
  }
}

void DirtyBitmaps::must_announce() {
  auto const lock = std::lock_guard{mutex_};
  must_announce_ = true;
}

void DirtyBitmaps::set_edited() {
  auto const lock = std::lock_guard{mutex_};
  edited_ = true;
}

void DirtyBitmaps::distrust_all() {
  auto const lock = std::lock_guard{mutex_};
  for (auto& each : entries_) each.bitmap.inconsistent = true;
  edited_ = edited_ || !entries_.empty();
  count_recording();
}

void DirtyBitmaps::put(std::vector<DirtyBitmap> bitmaps) {
  auto const lock = std::lock_guard{mutex_};
  for (auto& each : bitmaps) entries_.push_back({std::move(each), true});
  count_recording();
}

std::optional<std::vector<DirtyBitmap>> DirtyBitmaps::to_store() const {
  auto const lock = std::lock_guard{mutex_};
  if (!stored_are_invalid_ && !edited_) return std::nullopt;
  auto kept = std::vector<DirtyBitmap>{};
  for (auto const& each : entries_) {
    if (each.kept) kept.push_back(each.bitmap);
  }
  return kept;
}

}  // namespace vireo::image
