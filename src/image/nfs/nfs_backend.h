#pragma once

#include <atomic>
#include <mutex>

#include "image/backend.h"
#include "image/nfs/nfs_connection.h"
#include "image/nfs/unflushed_writes.h"

namespace vireo::image::nfs {

/// A file that an NFS server has, version 3 or 4. When the server goes away, requests wait for it, and what it
/// was not told to commit is written again.
class NfsBackend final : public Backend {
 public:
  static Result<std::unique_ptr<Backend>> open(std::string const& url, bool writable);
  static Result<std::unique_ptr<Backend>> create(std::string const& url);
  static Result<> remove(std::string const& url);

  u64 size() const override { return bytes_; }
  bool can_grow() const override { return true; }
  Result<> truncate(u64 bytes) override;
  Result<> lock(bool alone) override;
  Result<> read(u64 at, Bytes into) override;
  Result<> write(u64 at, ConstBytes from) override;
  Result<> write_zeroes(u64 at, u64 length, bool may_unmap) override;
  /// The protocol's versions that libnfs knows give nothing back.
  Result<> discard(u64, u64) override { return {}; }
  Result<> flush() override;
  Result<host::File::Extent> extent_at(u64 at) override;

 private:
  enum class Locked : u8 { no, shared, alone };
  NfsBackend(Address address, Access access) : address_{std::move(address)}, access_{access} {}
  static Result<std::unique_ptr<Backend>> start(std::string const& url, Access access);
  Result<std::shared_ptr<NfsConnection>> connection();
  Result<> connect();
  template <typename F>
  Result<> persist(F const& act);
  void drop(std::shared_ptr<NfsConnection> const& lost);

  Address address_;
  Access access_;
  std::atomic<u64> bytes_{};
  std::mutex mutex_;  // the next four; held while the server is looked for
  std::shared_ptr<NfsConnection> connection_;
  u64 file_system_{};
  u64 number_{};
  Locked locked_{Locked::no};
  UnflushedWrites unflushed_;
};

}  // namespace vireo::image::nfs
