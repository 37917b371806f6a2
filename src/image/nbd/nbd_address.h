#pragma once

#include <string>

#include "image/nbd/stream.h"
#include "image/nbd/tls.h"

namespace vireo::image::nbd {

/// Where a server is, from nbd://HOST:PORT/NAME, nbd+unix:///NAME?socket=PATH, and nbds for TLS.
struct Address {
  std::string host{};
  std::string port{};
  std::string socket{};
  std::string name{};
  bool encrypted{};
  TlsSettings tls{};
  u32 connections{4};        // at most, and one unless the server says that several are safe
  u64 patience_seconds{30};  // how long a request waits for a server that is away
};
Result<Address> parse_address(std::string const& url);
Result<std::unique_ptr<Stream>> connect(Address const& address, u64 deadline_ns);

}  // namespace vireo::image::nbd
