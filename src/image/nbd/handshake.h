#pragma once

#include <memory>
#include <optional>
#include <span>
#include <vector>

#include "image/nbd/export.h"
#include "image/nbd/stream.h"
#include "image/nbd/tls.h"

namespace vireo::image::nbd {

/// What a server has for its clients.
struct Offer {
  std::span<Export const> exports;
  TlsContext const* tls{};  // given: nothing is told before the connection is encrypted
};

/// What a client has chosen.
struct Session {
  Export const* served{};
  bool structured{};
  std::vector<u32> contexts;  // numbers as in status_at()
};

/// The server's half of the fixed newstyle handshake. Nothing: the client has left without choosing. The stream
/// may become an encrypted one.
Result<std::optional<Session>> greet_client(std::unique_ptr<Stream>& stream, Offer const& offer,
                                            u64 deadline_ns);

}  // namespace vireo::image::nbd
