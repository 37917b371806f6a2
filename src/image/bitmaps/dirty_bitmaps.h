#pragma once

#include <atomic>
#include <mutex>
#include <utility>

#include "image/bitmaps/dirty_bitmap.h"

namespace vireo::image {

/// The dirty bitmaps of a disk that is open for writing. Any thread. Errc::not_found when there is none of a
/// name, Errc::busy when there is one already.
class DirtyBitmaps {
 public:
  explicit DirtyBitmaps(u64 disk_bytes) : bytes_{disk_bytes} {}
  virtual ~DirtyBitmaps() = default;
  DirtyBitmaps(DirtyBitmaps const&) = delete;

  std::vector<BitmapInfo> list() const;
  /// `kept`: it is stored when the image is closed.
  Result<> add(std::string const& name, u64 granularity = DirtyBitmap::default_granularity, bool kept = true);
  /// As it is, for the same disk; kept.
  Result<> add(DirtyBitmap bitmap);
  Result<> remove(std::string const& name);
  Result<> clear(std::string const& name);
  Result<> enable(std::string const& name, bool on);
  Result<> merge(std::string const& name, DirtyBitmap const& from);
  Result<DirtyBitmap> copy(std::string const& name) const;

  /// For an incremental backup: yields what is dirty, and the bitmap starts anew in the same moment. A backup
  /// that fails gives it back with merge(). Changes under way are in one of the two at least.
  Result<DirtyBitmap> take(std::string const& name);

  /// Before a change of the disk, and when it is over, whether it succeeded or not.
  Result<> before_change() { return announced_.load(std::memory_order_acquire) ? Result<>{} : announce(); }
  void changed(u64 at, u64 length);
  bool records() const { return recording_; }

 protected:
  struct Entry {
    DirtyBitmap bitmap;
    bool kept{true};
  };
  /// Makes the stored copies count as out of date, on stable storage.
  virtual Result<> invalidate_stored() = 0;
  void must_announce();
  void set_edited();
  /// All of them are out of date.
  void distrust_all();
  void put(std::vector<DirtyBitmap> bitmaps);
  /// Those to be stored; nothing when they did not change.
  std::optional<std::vector<DirtyBitmap>> to_store() const;

 private:
  Result<Entry*> find(std::string const& name);
  Result<Entry*> find_usable(std::string const& name);
  Result<> announce();
  void count_recording();

  u64 bytes_{};
  std::atomic<bool> announced_{};  // nothing is to be done before a change
  std::atomic<bool> recording_{};  // some bitmap records
  mutable std::mutex mutex_;       // covers what follows; innermost
  std::vector<Entry> entries_;
  bool stored_are_invalid_{};
  bool edited_{};
  bool must_announce_{};  // there are others in the file
  std::mutex announcing_;
};

/// A change of a disk, recorded when it ends, however it does.
class RecordedChange {
 public:
  static Result<RecordedChange> begin(DirtyBitmaps& bitmaps, u64 at, u64 length) {
    TRY(bitmaps.before_change());
    return RecordedChange{bitmaps, at, length};
  }
  RecordedChange(RecordedChange&& other) noexcept
      : bitmaps_{std::exchange(other.bitmaps_, nullptr)}, at_{other.at_}, length_{other.length_} {}
  RecordedChange& operator=(RecordedChange&&) = delete;
  ~RecordedChange() {
    if (bitmaps_ != nullptr) bitmaps_->changed(at_, length_);
  }

 private:
  RecordedChange(DirtyBitmaps& bitmaps, u64 at, u64 length) : bitmaps_{&bitmaps}, at_{at}, length_{length} {}
  DirtyBitmaps* bitmaps_;
  u64 at_;
  u64 length_;
};

}  // namespace vireo::image
