#pragma once

#include <functional>
#include <memory>
#include <vector>

#include "host/file.h"
#include "image/iscsi/iscsi_address.h"
#include "image/polled/polled_connection.h"
#include "vocab/bytes.h"

struct iscsi_context;
struct scsi_task;

namespace vireo::image::iscsi {

/// What a logical unit says of itself. In bytes where nothing else is said.
struct Unit {
  u64 bytes{};
  u32 block{512};
  u64 largest_transfer{};
  u64 largest_zero{};   // of WRITE SAME; 0: not to be used
  u64 largest_unmap{};  // 0: not to be used
  bool unmapped_is_zero{};
  bool tells_holes{};
  bool read_only{};
};

/// A session with a target, logged in, for one of its units. All ranges are whole blocks inside the unit.
/// Errc::gone as PolledConnection; what the unit says else: denied, no_space, unsupported, io.
class IscsiConnection final : public polled::PolledConnection {
 public:
  static Result<std::shared_ptr<IscsiConnection>> connect(Address const& address);
  ~IscsiConnection() override;

  Unit const& unit() const { return unit_; }
  Result<> read(u64 at, Bytes into);
  Result<> write(u64 at, ConstBytes from);
  Result<> write_zeroes(u64 at, u64 length, bool may_unmap);
  Result<> unmap(u64 at, u64 length);
  Result<> synchronize();
  Result<host::File::Extent> extent_at(u64 at);

 private:
  struct Command;
  using Start = std::function<scsi_task*(Command&)>;
  explicit IscsiConnection(Address const& address);
  Result<> log_in(Address const& address);
  Result<> look();
  Result<> look_at_limits();
  Result<> run(std::vector<Command>& commands, Start const& start);
  Result<> run(Command& command, Start const& start);
  Result<> in_parts(u64 at, u64 length, u64 part, Start const& start);

  int descriptor() override;
  short wanted_events() override;
  bool service(short events) override;
  std::string reason() override;
  void cut() override;

  int number_;
  Unit unit_{};
  iscsi_context* iscsi_{};
};

}  // namespace vireo::image::iscsi
