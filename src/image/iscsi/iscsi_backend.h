#pragma once

#include "image/aligned_access.h"
#include "image/backend.h"
#include "image/iscsi/iscsi_connection.h"
#include "image/polled/reconnecting.h"
#include "image/polled/unflushed_writes.h"

namespace vireo::image::iscsi {

/// A logical unit of an iSCSI target. When the target goes away, requests wait for it, and what it was not told
/// to synchronize is written again.
class IscsiBackend final : public Backend {
 public:
  static Result<std::unique_ptr<Backend>> open(std::string const& url, bool writable);

  u64 size() const override { return unit_.bytes; }
  Result<> read(u64 at, Bytes into) override { return blocks_.read(at, into); }
  Result<> write(u64 at, ConstBytes from) override { return blocks_.write(at, from); }
  Result<> write_zeroes(u64 at, u64 length, bool may_unmap) override;
  Result<> discard(u64 at, u64 length) override;
  Result<> flush() override;
  Result<host::File::Extent> extent_at(u64 at) override;

 private:
  explicit IscsiBackend(Address address);
  Result<std::shared_ptr<IscsiConnection>> connect();
  Result<> read_blocks(u64 at, Bytes into);
  Result<> write_blocks(u64 at, ConstBytes from);
  template <typename F>
  Result<> change(u64 number, F const& act);

  Address address_;
  Unit unit_{};
  polled::UnflushedWrites unflushed_;
  polled::Reconnecting<IscsiConnection> target_;
  AlignedAccess blocks_;
};

}  // namespace vireo::image::iscsi
