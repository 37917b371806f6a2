#pragma once

#include <condition_variable>
#include <map>
#include <mutex>
#include <vector>

#include "image/nbd/client_handshake.h"
#include "image/nbd/export.h"
#include "image/nbd/request.h"

namespace vireo::image::nbd {

/// One request and what comes back for it.
struct Call {
  Request request{};
  ConstBytes payload{};
  Bytes into{};
  std::vector<Status> runs{};  // of block status
  u32 error{};
  u64 received{};  // bytes of `into`
  bool done{};
};

/// A connection after its handshake, for any number of threads: each sends its own request, and of those that
/// wait for answers one reads for all.
class ClientConnection {
 public:
  ClientConnection(std::unique_ptr<Stream> stream, ServerTerms const& terms)
      : stream_{std::move(stream)}, terms_{terms} {}
  ~ClientConnection();

  /// Errc::gone: the connection is of no use any longer, and the call may or may not have been carried out.
  /// Else call.error tells.
  Result<> carry_out(Call& call);
  bool is_broken();
  u32 under_way();

 private:
  using Lock = std::unique_lock<std::mutex>;
  Result<> send(Call const& call);
  Result<> read_answer();
  Result<> read_simple(u32 error, u64 cookie);
  Result<> read_chunk(u16 flags);
  Result<> read_content(Chunk type, Call& call, u32 length);
  Result<> read_status(Call& call, u32 length);
  Result<Call*> find(u64 cookie);
  void finish(Call& call);

  std::unique_ptr<Stream> stream_;
  ServerTerms terms_;
  std::mutex sending_;
  std::mutex mutex_;  // the rest
  std::condition_variable changed_;
  std::map<u64, Call*> calls_;
  u64 next_cookie_{1};
  bool reading_{};
  bool broken_{};
};

}  // namespace vireo::image::nbd
