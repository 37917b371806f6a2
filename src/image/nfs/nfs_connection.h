#pragma once

#include <memory>
#include <span>

#include "image/nfs/nfs_address.h"
#include "image/polled/polled_connection.h"
#include "vocab/bytes.h"

struct nfs_context;
struct nfsfh;

namespace vireo::image::nfs {

enum class Access : u8 { read, write, create };

/// A file that one connection has open. Errc::gone: of no use any longer, as PolledConnection; Errc::io: what
/// the server said, or version 4's state of the file is lost.
class NfsConnection final : public polled::PolledConnection {
 public:
  struct Facts {
    u64 bytes{};
    u64 file_system{};
    u64 number{};
  };
  static Result<std::shared_ptr<NfsConnection>> connect(Address const& address, Access access);
  /// Without opening it.
  static Result<> remove_file(Address const& address);
  ~NfsConnection() override;

  Result<Facts> facts();
  /// The file has all of it, else Errc::io. In parts, all under way at once.
  Result<> read(u64 at, Bytes into);
  Result<> write(u64 at, ConstBytes from);
  Result<> commit();
  Result<> truncate(u64 bytes);
  /// Version 4 only. Errc::busy.
  Result<> lock(bool alone);

 private:
  struct Request;
  explicit NfsConnection(Address const& address);
  Result<> configure(Address const& address);
  Result<> mount(Address const& address);
  Result<> open(std::string const& path, Access access);
  Result<> set_lock(int kind);
  template <typename F>
  Result<> ask(Request& request, F const& start);
  template <typename F>
  Result<> in_parts(u64 at, std::size_t bytes, u64 part, F const& start);
  std::unexpected<Error> failed(Request const& request) const;

  int descriptor() override;
  short wanted_events() override;
  bool service(short events) override;
  std::string reason() override;
  void cut() override;

  u64 version_;
  u64 read_part_;
  u64 write_part_;
  nfs_context* nfs_{};
  nfsfh* file_{};
  bool locked_{};
};

}  // namespace vireo::image::nfs
