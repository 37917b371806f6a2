#pragma once

#include <string>
#include <string_view>

#include "host/descriptor.h"
#include "vocab/integers.h"
#include "vocab/result.h"

namespace vireo::host {

/// Where a TCP server is: a name or number, and a port.
struct TcpAddress {
  std::string host;
  std::string port;
};
/// "HOST:PORT", "[::1]:PORT", "HOST" with the port given otherwise.
Result<TcpAddress> parse_tcp_address(std::string_view text, std::string_view port);
std::string to_text(TcpAddress const& address);

/// All are non-blocking. Port 0 takes a free one: bound_port() tells it.
Result<Descriptor> listen_tcp(TcpAddress const& address);
/// A socket that no process listens on any longer is replaced; one in use: Errc::busy.
Result<Descriptor> listen_unix(std::string const& path);
Result<u32> bound_port(int fd);

/// Fails with Errc::io when the other side has not answered by the deadline (CLOCK_MONOTONIC).
Result<Descriptor> connect_tcp(TcpAddress const& address, u64 deadline_ns);
Result<Descriptor> connect_unix(std::string const& path);

/// Small messages go out at once; a peer that is gone is noticed. Nothing for sockets that are not TCP.
void tune_tcp(int fd);

/// False: the deadline has passed. `events` as for poll; ~0 waits for ever.
Result<bool> wait_for(int fd, short events, u64 deadline_ns);

}  // namespace vireo::host
