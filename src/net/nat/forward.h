#pragma once

#include <string>
#include <string_view>

#include "vocab/integers.h"
#include "vocab/result.h"

namespace vireo::net {

/// A port of the host that leads to a port of the guest.
struct PortForward {
  std::string host_address{"127.0.0.1"};
  std::string guest_address{"10.0.2.15"};  // what DHCP gives the first guest
  u16 host_port{};
  u16 guest_port{};
  bool udp{};
  bool operator==(PortForward const&) const = default;
};

/// `[ADDRESS:]PORT:[ADDRESS:]PORT[/tcp|/udp]`, host before guest; IPv6 addresses in brackets. Errc::invalid
/// says what is wrong and how it should look.
Result<PortForward> parse_forward(std::string_view text);
/// The shortest text that parse_forward() reads back.
std::string to_string(PortForward const& forward);

}  // namespace vireo::net
