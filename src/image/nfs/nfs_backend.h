#pragma once

#include <atomic>

#include "image/backend.h"
#include "image/nfs/nfs_connection.h"
#include "image/polled/reconnecting.h"
#include "image/polled/unflushed_writes.h"

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
  NfsBackend(Address address, Access access);
  static Result<std::unique_ptr<Backend>> start(std::string const& url, Access access);
  Result<std::shared_ptr<NfsConnection>> connect();

  Address address_;
  Access access_;
  std::atomic<u64> bytes_{};
  std::atomic<Locked> locked_{Locked::no};
  u64 file_system_{};  // this and the next: while connecting
  u64 number_{};
  polled::UnflushedWrites unflushed_;
  polled::Reconnecting<NfsConnection> server_;
};

}  // namespace vireo::image::nfs
