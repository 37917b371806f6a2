#pragma once

#include <memory>
#include <unordered_map>
#include <vector>

#include "image/storage.h"

namespace vireo::image::blocks {

/// Some bytes of a table or a bitmap. Remembers which of them differ from the file.
class Page {
 public:
  Page(u64 at, std::vector<std::byte> bytes) : at_{at}, bytes_{std::move(bytes)} {}
  ConstBytes bytes() const { return bytes_; }

 private:
  friend class PageCache;
  bool dirty() const { return dirty_from_ < dirty_to_; }
  u64 at_;  // in the file
  std::vector<std::byte> bytes_;
  u64 dirty_from_{~u64{0}};
  u64 dirty_to_{0};
  bool being_written_{};
  u64 last_use_{};
};

/// Pages by number. It never writes: dirty pages stay until taken by take_dirty() and confirmed by written();
/// only clean ones are let go. Not for several threads at once.
class PageCache {
 public:
  explicit PageCache(std::size_t pages) : capacity_{pages} {}

  /// Valid until the next load() or create().
  Result<Page*> load(Storage const& storage, u64 number, u64 at, u64 length);
  /// A page whose bytes stand in the file already.
  Page* create(u64 number, u64 at, std::vector<std::byte> bytes);
  /// The bytes, to be changed.
  Bytes change(Page& page, u64 at, u64 length);

  /// More than half is dirty: time to write.
  bool crowded() const { return dirty_ * 2 > capacity_; }
  struct Write {
    u64 number{};
    u64 within{};  // the page
    u64 at{};      // in the file
    std::vector<std::byte> bytes;
  };
  std::vector<Write> take_dirty();
  /// The outcome of writing what take_dirty() gave; after a failure it is dirty again.
  void written(std::vector<Write> const& writes, bool success);

 private:
  void make_room();

  std::size_t capacity_;
  std::size_t dirty_{0};
  u64 clock_{0};
  std::unordered_map<u64, std::unique_ptr<Page>> pages_;
};

}  // namespace vireo::image::blocks
