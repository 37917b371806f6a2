#pragma once

#include <list>
#include <unordered_map>
#include <vector>

#include "vocab/bytes.h"
#include "vocab/integers.h"

namespace vireo::image::block_map {

/// Pages of tables, by number, the least recently used let go first; dirty ones stay. Little-endian entries.
/// Not for several threads at once.
class PageCache {
 public:
  struct Page {
    u64 number{};
    std::vector<std::byte> bytes;
    bool dirty{};
    bool being_written{};

    template <typename T>
    T get(u64 index) const {
      return load_le<T>(bytes.data() + index * sizeof(T));
    }
    template <typename T>
    void set(u64 index, T value) {
      store_le<T>(bytes.data() + index * sizeof(T), value);
    }
  };
  explicit PageCache(std::size_t capacity) : capacity_{capacity} {}

  /// Null: not there. Valid until the next insert().
  Page* find(u64 number);
  Page* insert(u64 number, std::vector<std::byte> bytes);
  void mark_dirty(Page& page);
  bool any_dirty() const { return dirty_ != 0; }
  bool crowded() const { return dirty_ * 2 > capacity_; }
  /// The dirty pages in order of number; they count as clean until written() says otherwise.
  std::vector<Page const*> take_dirty();
  void written(bool success);

 private:
  std::size_t capacity_;
  std::size_t dirty_{0};
  std::list<Page> pages_;  // last used first
  std::unordered_map<u64, std::list<Page>::iterator> by_number_;
};

}  // namespace vireo::image::block_map
