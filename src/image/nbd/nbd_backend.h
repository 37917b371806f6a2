#pragma once

#include <atomic>
#include <mutex>

#include "image/aligned_access.h"
#include "image/backend.h"
#include "image/nbd/client_connection.h"

namespace vireo::image::nbd {

/// A disk that an NBD server has. Opens more connections while others are busy, where the server allows it, and
/// connects again when one is lost: requests wait meanwhile, and are sent once more. A server that does not
/// promise that connections see each other's writes, and is lost with writes that were not flushed, fails the
/// next flush.
class NbdBackend final : public Backend {
 public:
  static Result<std::unique_ptr<Backend>> open(Address address, bool writable);

  u64 size() const override { return terms_.bytes; }
  Result<> read(u64 at, Bytes into) override { return blocks_.read(at, into); }
  Result<> write(u64 at, ConstBytes from) override { return blocks_.write(at, from); }
  Result<> write_zeroes(u64 at, u64 length, bool may_unmap) override;
  Result<> discard(u64 at, u64 length) override;
  Result<> flush() override;
  Result<host::File::Extent> extent_at(u64 at) override;

 private:
  NbdBackend(Address address, std::unique_ptr<TlsContext> tls);
  Result<> perform(Call& call);
  Result<> change(Command command, u16 flags, u64 at, u64 length);
  Result<> read_blocks(u64 at, Bytes into);
  Result<> write_blocks(u64 at, ConstBytes from);
  Result<std::shared_ptr<ClientConnection>> pick(u64 deadline_ns);
  Result<std::shared_ptr<ClientConnection>> connect_once(u64 deadline_ns);
  void drop(std::shared_ptr<ClientConnection> const& lost);

  Address address_;
  std::unique_ptr<TlsContext> tls_;
  ServerTerms terms_{};
  std::mutex mutex_;  // connections_
  std::vector<std::shared_ptr<ClientConnection>> connections_;
  std::atomic<bool> unflushed_{false};
  std::atomic<bool> lost_writes_{false};
  AlignedAccess blocks_;
};

/// For the table of URL schemes.
Result<std::unique_ptr<Backend>> open_nbd(std::string const& url, bool writable);

}  // namespace vireo::image::nbd
