#pragma once

#include <memory>
#include <shared_mutex>
#include <string>

#include "host/file.h"
#include "image/backend.h"
#include "image/cache_mode.h"

namespace vireo::image {

class FileLocks;

/// The file below a format, or what a URL leads to: bytes at offsets, in the cache mode asked for, at any
/// alignment. Any thread.
class Storage {
 public:
  static Result<Storage> open(std::string const& path, bool writable, CacheMode cache);
  /// An empty file, open for writing. Errc::busy when it is there.
  static Result<Storage> create(std::string const& path);
  /// Of a file that create() made; never an error when it is not there.
  static void remove(std::string const& path);

  /// Behind the end of the file there are zeroes.
  Result<> read(u64 at, Bytes into) const;
  /// As BlockImage::view.
  ConstBytes view(u64 at, u64 length) const;
  Result<> write(u64 at, ConstBytes from) const;
  Result<> write_zeroes(u64 at, u64 length, bool may_unmap) const;
  /// Gives space back where the file system can; never an error when it cannot.
  Result<> discard(u64 at, u64 length) const;
  /// All finished writes are on stable storage, except in mode unsafe.
  Result<> sync() const;
  Result<u64> size() const { return backend_ ? backend_->size() : file_.size(); }
  /// A file of its own size; devices and other machines keep theirs.
  bool can_grow() const { return backend_ ? backend_->can_grow() : file_.kind() == host::File::Kind::regular; }
  Result<> truncate(u64 bytes) const;
  /// Whether a write of this range of a disk of `bytes` may begin: Errc::denied when opened read-only.
  Result<> check_write(u64 at, u64 length, u64 bytes) const;
  /// What a write ends with, by the cache mode.
  Result<> finish_write() const { return syncs_each_write(cache_) ? sync() : Result<>{}; }
  /// As File's.
  Result<host::File::Extent> extent_at(u64 at) const;
  /// Alone as a writer, shared as a reader. Errc::busy otherwise. What is `held` needs no other lock.
  Result<> lock(FileLocks const* held = nullptr) const;

  bool writable() const { return writable_; }
  CacheMode cache() const { return cache_; }
  std::string const& path() const { return backend_ ? url_ : file_.path(); }
  host::File::Identity identity() const;

 private:
  Result<> read_direct(u64 at, Bytes into) const;
  Result<> write_direct(u64 at, ConstBytes from) const;

  Result<> within(u64 at, u64 length) const;

  host::File file_;
  std::string url_;
  std::unique_ptr<Backend> backend_;  // in place of file_
  bool writable_{};
  CacheMode cache_{};
  struct LazyView;
  struct DropView {
    void operator()(LazyView* view) const;
  };
  std::unique_ptr<LazyView, DropView> view_;
  // O_DIRECT: a write that starts or ends inside a block reads the block, changes it and writes it, alone.
  std::unique_ptr<std::shared_mutex> edges_{std::make_unique<std::shared_mutex>()};
};

}  // namespace vireo::image
