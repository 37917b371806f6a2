#pragma once

#include <string>
#include <vector>

#include "net/nat/forward.h"
#include "net/port.h"
#include "vocab/result.h"

namespace vireo::net {

struct NatOptions {
  std::vector<PortForward> forwards;
  std::string hostname{"vireo"};  // what DHCP calls the guest
  bool ipv6{true};
  bool host_loopback{true};  // 10.0.2.2 reaches the host's own 127.0.0.1
};

/// User-mode NAT over libslirp: the guest is 10.0.2.15/24 and fec0::/64, its gateway 10.0.2.2, its
/// DNS 10.0.2.3; DHCP and router advertisements say so. Everything of libslirp, and the receiver, runs on one
/// thread of its own.
class Nat : public Port {
 public:
  struct Counters {
    u64 dropped_to_host{};   // the queue to the NAT thread was full
    u64 dropped_to_guest{};  // the receiver had no room for too long
    u64 malformed{};         // frames of impossible length
  };
  /// Errors name the forward that cannot be: Errc::busy when its port is in use, Errc::denied without the
  /// right.
  static Result<std::unique_ptr<Nat>> create(NatOptions options);
  virtual Counters counters() const = 0;
};

}  // namespace vireo::net
