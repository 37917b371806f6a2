#pragma once

#include <atomic>
#include <cstddef>

#include "vocab/bytes.h"
#include "vocab/guarded.h"
#include "vocab/integers.h"
#include "vocab/result.h"

namespace vireo::engine::soft {

/// Memory for generated host code: one memfd mapped twice, so that no mapping is ever both writable and
/// executable. Grows chunk by chunk up to `limit` bytes; nothing is freed before the destructor. Thread-safe.
class CodeMemory {
 public:
  explicit CodeMemory(std::size_t limit) : limit_{limit} {}
  ~CodeMemory();
  CodeMemory(CodeMemory const&) = delete;
  CodeMemory& operator=(CodeMemory const&) = delete;

  /// Copies position-independent `code` in and returns its executable address, aligned to 32. Errors: no_space
  /// when the limit is reached or the host refuses.
  Result<u8 const*> add(ConstBytes code);

  /// Both views of `length` bytes (at most one chunk) that the caller rewrites himself.
  struct Slot {
    u8* writable{};
    u8 const* executable{};
  };
  Result<Slot> reserve(std::size_t length);

  /// Whether `address` lies in executable memory of this object. Async-signal-safe.
  bool contains(void const* address) const;

 private:
  static constexpr std::size_t chunk_size{256 * 1024};
  static constexpr std::size_t max_chunks{256};

  struct Newest {  // chunk, and how far it is used
    u8* writable{};
    u8* executable{};
    std::size_t used{chunk_size};
    std::size_t count{};
  };
  Result<> grow(Newest& newest);

  std::size_t const limit_;
  Guarded<Newest, LockRank::code_memory> newest_;
  std::atomic<u8*> chunks_[max_chunks]{};  // executable views, from the first on; null behind the newest
  u8* writable_views_[max_chunks]{};
};

}  // namespace vireo::engine::soft
