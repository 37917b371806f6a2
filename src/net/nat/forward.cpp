#include "net/nat/forward.h"

#include <arpa/inet.h>
#include <fmt/format.h>

#include <charconv>
#include <vector>

namespace vireo::net {
namespace {

std::unexpected<Error> bad(std::string_view text, std::string_view why) {
  return fail(Errc::invalid,
              fmt::format("'{}': {}; it should look like 2222:22, 0.0.0.0:8080:80 or 5353:53/udp", text, why));
}

/// Splits at colons outside of brackets.
std::vector<std::string_view> split(std::string_view text) {
  auto parts = std::vector<std::string_view>{};
  auto start = std::size_t{0};
  auto in_brackets = false;
  for (auto i = std::size_t{0}; i <= text.size(); ++i) {
    if (i < text.size() && text[i] == '[') in_brackets = true;
    if (i < text.size() && text[i] == ']') in_brackets = false;
    if (i < text.size() && (text[i] != ':' || in_brackets)) continue;
    parts.push_back(text.substr(start, i - start));
    start = i + 1;
  }
  return parts;
}

bool is_port(std::string_view text) {
  auto port = u32{0};
  auto const [end, error] = std::from_chars(text.data(), text.data() + text.size(), port);
  return error == std::errc{} && end == text.data() + text.size() && port >= 1 && port <= 65535;
}

u16 port_of(std::string_view text) {
  auto port = u16{0};
  std::from_chars(text.data(), text.data() + text.size(), port);
  return port;
}

bool is_address(std::string const& text) {
  auto storage = in6_addr{};
  return ::inet_pton(AF_INET, text.c_str(), &storage) == 1 ||
         ::inet_pton(AF_INET6, text.c_str(), &storage) == 1;
}

std::string without_brackets(std::string_view text) {
  if (text.size() >= 2 && text.front() == '[' && text.back() == ']') text = text.substr(1, text.size() - 2);
  return std::string{text};
}

std::string with_brackets(std::string const& address) {
  return address.find(':') == std::string::npos ? address : "[" + address + "]";
}

}  // namespace

Result<PortForward> parse_forward(std::string_view text) {
  auto forward = PortForward{};
  auto body = text;
  if (auto const slash = body.rfind('/'); slash != std::string_view::npos) {
    auto const protocol = body.substr(slash + 1);
    if (protocol != "tcp" && protocol != "udp")
      return bad(text, fmt::format("'{}' is not tcp or udp", protocol));
    forward.udp = protocol == "udp";
    body = body.substr(0, slash);
  }
  auto parts = split(body);
  auto const take_port = [&](u16& port) {
    if (parts.empty() || !is_port(parts.back())) return false;
    port = port_of(parts.back());
    parts.pop_back();
    return true;
  };
  if (parts.size() < 2) return bad(text, "it names no guest port");
  if (!take_port(forward.guest_port)) return bad(text, "the guest port is not a number from 1 to 65535");
  if (!is_port(parts.back())) {
    forward.guest_address = without_brackets(parts.back());
    if (!is_address(forward.guest_address))
      return bad(text, fmt::format("'{}' is no address or port", parts.back()));
    parts.pop_back();
  }
  if (!take_port(forward.host_port)) return bad(text, "the host port is not a number from 1 to 65535");
  if (parts.empty()) return forward;
  forward.host_address = without_brackets(parts.back());
  if (parts.size() > 1 || !is_address(forward.host_address)) {
    return bad(text, fmt::format("'{}' is no address", parts.back()));
  }
  return forward;
}

std::string to_string(PortForward const& forward) {
  auto const usual = PortForward{};
  auto text = std::string{};
  if (forward.host_address != usual.host_address) text += with_brackets(forward.host_address) + ":";
  text += fmt::format("{}:", forward.host_port);
  if (forward.guest_address != usual.guest_address) text += with_brackets(forward.guest_address) + ":";
  return text + fmt::format("{}{}", forward.guest_port, forward.udp ? "/udp" : "");
}

}  // namespace vireo::net
