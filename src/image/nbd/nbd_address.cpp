#include "image/nbd/nbd_address.h"

#include <fmt/format.h>

#include "host/socket.h"
#include "image/nbd/spec.h"
#include "image/url.h"
#include "vocab/units.h"

namespace vireo::image::nbd {
namespace {

constexpr u64 most_connections{16};
constexpr u64 longest_patience{24 * 3600};

Result<u64> number_in(Url const& url, std::string const& key, u64 otherwise, u64 most) {
  auto const text = url.value(key);
  if (text.empty()) return otherwise;
  auto const number = TRY_IN(key, parse_number(text));
  if (number <= most) return number;
  return fail(Errc::invalid, fmt::format("{}={}: at most {}", key, number, most));
}

}  // namespace

Result<Address> parse_address(std::string const& text) {
  auto const url = TRY(parse_url(text));
  TRY(url.allow({"socket", "tls-certificates", "tls-verify-peer", "connections", "reconnect"}));
  auto address = Address{.socket = url.value("socket"), .name = url.path};
  address.encrypted = url.scheme.starts_with("nbds");
  address.tls = {.folder = url.value("tls-certificates"),
                 .verify_peer = url.value("tls-verify-peer") != "false"};
  auto const by_path = url.scheme.ends_with("+unix");
  if (by_path && address.socket.empty()) {
    return fail(Errc::invalid,
                fmt::format("{}: the socket is missing: {}:///NAME?socket=PATH", text, url.scheme));
  }
  if (!by_path && !address.socket.empty()) {
    return fail(Errc::invalid, fmt::format("{}: with a socket it is {}+unix:///", text, url.scheme));
  }
  auto const where = TRY(host::parse_tcp_address(url.authority, std::to_string(default_port)));
  address.host = where.host;
  address.port = where.port;
  if (!by_path && address.host.empty())
    return fail(Errc::invalid, fmt::format("{}: the host is missing", text));
  address.connections =
      static_cast<u32>(TRY(number_in(url, "connections", address.connections, most_connections)));
  address.patience_seconds = TRY(number_in(url, "reconnect", address.patience_seconds, longest_patience));
  return address;
}

Result<std::unique_ptr<Stream>> connect(Address const& address, u64 deadline_ns) {
  auto socket = address.socket.empty() ? host::connect_tcp({address.host, address.port}, deadline_ns)
                                       : host::connect_unix(address.socket);
  return std::make_unique<SocketStream>(TRY(std::move(socket)));
}

}  // namespace vireo::image::nbd
