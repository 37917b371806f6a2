#pragma once

#include <memory>
#include <shared_mutex>
#include <string>

#include "host/file.h"
#include "image/cache_mode.h"

namespace vireo::image {

/// The file below a format: bytes at offsets, in the cache mode asked for, at any alignment. Any thread.
class Storage {
 public:
  static Result<Storage> open(std::string const& path, bool writable, CacheMode cache);

  /// Behind the end of the file there are zeroes.
  Result<> read(u64 at, Bytes into) const;
  Result<> write(u64 at, ConstBytes from) const;
  Result<> write_zeroes(u64 at, u64 length, bool may_unmap) const;
  /// Gives space back where the file system can; never an error when it cannot.
  Result<> discard(u64 at, u64 length) const;
  /// All finished writes are on stable storage, except in mode unsafe.
  Result<> sync() const;
  Result<u64> size() const { return file_.size(); }
  /// Alone as a writer, shared as a reader. Errc::busy otherwise.
  Result<> lock() const;

  bool writable() const { return writable_; }
  CacheMode cache() const { return cache_; }
  std::string const& path() const { return file_.path(); }
  host::File::Identity identity() const { return file_.identity(); }
  host::File const& file() const { return file_; }

 private:
  Result<> read_direct(u64 at, Bytes into) const;
  Result<> write_direct(u64 at, ConstBytes from) const;

  host::File file_;
  bool writable_{};
  CacheMode cache_{};
  // O_DIRECT: a write that starts or ends inside a block reads the block, changes it and writes it, alone.
  std::unique_ptr<std::shared_mutex> edges_{std::make_unique<std::shared_mutex>()};
};

}  // namespace vireo::image
