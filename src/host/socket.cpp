#include "host/socket.h"

#include <fmt/format.h>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <sys/socket.h>
#include <sys/un.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <memory>

#include "host/clock.h"
#include "host/system_error.h"

namespace vireo::host {
namespace {

using Found = std::unique_ptr<addrinfo, decltype(&::freeaddrinfo)>;

Result<Found> look_up(TcpAddress const& address, int flags) {
  auto hints = addrinfo{};
  hints.ai_socktype = SOCK_STREAM;
  hints.ai_flags = flags | AI_ADDRCONFIG;
  auto* list = static_cast<addrinfo*>(nullptr);
  auto const* const host = address.host.empty() ? nullptr : address.host.c_str();
  auto outcome = ::getaddrinfo(host, address.port.c_str(), &hints, &list);
  if (outcome == EAI_NONAME || outcome == EAI_ADDRFAMILY) {  // loopback alone is no "configured" address
    hints.ai_flags = flags;
    outcome = ::getaddrinfo(host, address.port.c_str(), &hints, &list);
  }
  if (outcome != 0) {
    return fail(Errc::not_found, fmt::format("{}: {}", to_text(address), ::gai_strerror(outcome)));
  }
  return Found{list, ::freeaddrinfo};
}

Result<sockaddr_un> unix_address(std::string const& path) {
  auto address = sockaddr_un{};
  if (path.empty() || path.size() >= sizeof address.sun_path) {
    return fail(Errc::invalid, fmt::format("'{}' is no path for a Unix socket (1 to {} bytes)", path,
                                           sizeof address.sun_path - 1));
  }
  address.sun_family = AF_UNIX;
  std::memcpy(address.sun_path, path.data(), path.size());
  return address;
}

// SOUND: sockets take every address family through sockaddr.
sockaddr const* any(sockaddr_un const& address) { return reinterpret_cast<sockaddr const*>(&address); }

Descriptor stream_socket(int family) {
  return Descriptor{::socket(family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0)};
}

int finish_connect(int fd, u64 deadline_ns) {
  auto const ready = wait_for(fd, POLLOUT, deadline_ns);
  if (!ready) return EIO;
  if (!*ready) return ETIMEDOUT;
  auto failure = 0;
  auto size = socklen_t{sizeof failure};
  ::getsockopt(fd, SOL_SOCKET, SO_ERROR, &failure, &size);
  return failure;
}

void set_option(int fd, int level, int name, int value) { ::setsockopt(fd, level, name, &value, sizeof value); }

}  // namespace

Result<TcpAddress> parse_tcp_address(std::string_view text, std::string_view port) {
  auto address = TcpAddress{.host = {}, .port = std::string{port}};
  auto rest = std::string_view{};
  if (text.starts_with('[')) {
    auto const end = text.find(']');
    if (end == std::string_view::npos) return fail(Errc::invalid, fmt::format("'{}': ']' is missing", text));
    address.host = text.substr(1, end - 1);
    rest = text.substr(end + 1);
  } else {
    auto const colon = text.rfind(':');
    address.host = text.substr(0, colon);
    rest = colon == std::string_view::npos ? std::string_view{} : text.substr(colon);
  }
  if (!rest.empty()) {
    if (rest[0] != ':' || rest.size() < 2)
      return fail(Errc::invalid, fmt::format("'{}' is no HOST:PORT", text));
    address.port = rest.substr(1);
  }
  auto const digits = std::ranges::all_of(address.port, [](char each) { return each >= '0' && each <= '9'; });
  if (!digits || address.port.size() > 5)
    return fail(Errc::invalid, fmt::format("'{}' is no port", address.port));
  return address;
}

std::string to_text(TcpAddress const& address) {
  auto const brackets = address.host.find(':') != std::string::npos;
  return brackets ? fmt::format("[{}]:{}", address.host, address.port)
                  : fmt::format("{}:{}", address.host, address.port);
}

Result<Descriptor> listen_tcp(TcpAddress const& address) {
  auto const found = TRY(look_up(address, AI_PASSIVE));
  auto failure = 0;
  for (auto const* each = found.get(); each != nullptr; each = each->ai_next) {
    auto socket = stream_socket(each->ai_family);
    if (socket) set_option(socket.get(), SOL_SOCKET, SO_REUSEADDR, 1);
    if (socket && ::bind(socket.get(), each->ai_addr, each->ai_addrlen) == 0 &&
        ::listen(socket.get(), SOMAXCONN) == 0) {
      return socket;
    }
    failure = errno;
  }
  return fail_errno(failure, fmt::format("listening at {}", to_text(address)));
}

Result<Descriptor> listen_unix(std::string const& path) {
  auto const address = TRY(unix_address(path));
  auto socket = stream_socket(AF_UNIX);
  if (!socket) return fail_errno(errno, path);
  if (::bind(socket.get(), any(address), sizeof address) != 0) {
    if (errno != EADDRINUSE) return fail_errno(errno, path);
    auto const peer = stream_socket(AF_UNIX);
    auto const answers = ::connect(peer.get(), any(address), sizeof address) == 0 || errno != ECONNREFUSED;
    if (answers)
      return fail(Errc::busy, fmt::format("{}: another process uses this socket, or it is none", path));
    ::unlink(path.c_str());
    if (::bind(socket.get(), any(address), sizeof address) != 0) return fail_errno(errno, path);
  }
  if (::listen(socket.get(), SOMAXCONN) != 0) return fail_errno(errno, path);
  return socket;
}

Result<u32> bound_port(int fd) {
  auto address = sockaddr_storage{};
  auto size = socklen_t{sizeof address};
  // SOUND: sockets take every address family through sockaddr.
  if (::getsockname(fd, reinterpret_cast<sockaddr*>(&address), &size) != 0) return fail_errno(errno, "socket");
  auto port = in_port_t{};
  auto const at =
      address.ss_family == AF_INET6 ? offsetof(sockaddr_in6, sin6_port) : offsetof(sockaddr_in, sin_port);
  // SOUND: both forms of address carry their port at this place.
  std::memcpy(&port, reinterpret_cast<char const*>(&address) + at, sizeof port);
  return u32{ntohs(port)};
}

Result<Descriptor> connect_tcp(TcpAddress const& address, u64 deadline_ns) {
  auto const found = TRY(look_up(address, 0));
  auto failure = EHOSTUNREACH;
  for (auto const* each = found.get(); each != nullptr; each = each->ai_next) {
    auto socket = stream_socket(each->ai_family);
    if (!socket) continue;
    failure = ::connect(socket.get(), each->ai_addr, each->ai_addrlen) == 0 ? 0 : errno;
    if (failure == EINPROGRESS) failure = finish_connect(socket.get(), deadline_ns);
    if (failure != 0) continue;
    tune_tcp(socket.get());
    return socket;
  }
  return fail_errno(failure, to_text(address));
}

Result<Descriptor> connect_unix(std::string const& path) {
  auto const address = TRY(unix_address(path));
  auto socket = stream_socket(AF_UNIX);
  if (!socket || ::connect(socket.get(), any(address), sizeof address) != 0) return fail_errno(errno, path);
  return socket;
}

void tune_tcp(int fd) {
  set_option(fd, IPPROTO_TCP, TCP_NODELAY, 1);
  set_option(fd, SOL_SOCKET, SO_KEEPALIVE, 1);
  set_option(fd, IPPROTO_TCP, TCP_KEEPIDLE, 60);
  set_option(fd, IPPROTO_TCP, TCP_KEEPINTVL, 20);
  set_option(fd, IPPROTO_TCP, TCP_KEEPCNT, 3);
}

Result<bool> wait_for(int fd, short events, u64 deadline_ns) {
  while (true) {
    auto timeout = -1;
    if (deadline_ns != ~u64{0}) {
      auto const now = monotonic_ns();
      if (now >= deadline_ns) return false;
      timeout = static_cast<int>(std::min<u64>((deadline_ns - now + 999'999) / 1'000'000, 3'600'000));
    }
    auto one = pollfd{.fd = fd, .events = events, .revents = 0};
    auto const count = ::poll(&one, 1, timeout);
    if (count > 0) return true;
    if (count < 0 && errno != EINTR) return fail_errno(errno, "poll");
  }
}

}  // namespace vireo::host
