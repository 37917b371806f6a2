#include "net/nat/forward.h"

#include <gtest/gtest.h>

namespace vireo::net {
namespace {

TEST(Forward, TwoPortsBindToLoopback) {
  auto const forward = parse_forward("2222:22").value();
  EXPECT_EQ(forward, (PortForward{.host_port = 2222, .guest_port = 22}));
  EXPECT_EQ(forward.host_address, "127.0.0.1");
}

TEST(Forward, ReadsAddressesAndProtocol) {
  EXPECT_EQ(parse_forward("0.0.0.0:80:10.0.2.20:8080/udp").value(),
            (PortForward{"0.0.0.0", "10.0.2.20", 80, 8080, true}));
  EXPECT_EQ(parse_forward("[::1]:80:[fec0::15]:81").value(), (PortForward{"::1", "fec0::15", 80, 81, false}));
}

TEST(Forward, WritesWhatItReads) {
  for (auto const* const text :
       {"2222:22", "0.0.0.0:80:10.0.2.20:8080/udp", "[::1]:80:[fec0::15]:81", "53:53/udp"}) {
    EXPECT_EQ(to_string(parse_forward(text).value()), text);
  }
}

TEST(Forward, NamesWhatIsWrong) {
  for (auto const* const text : {"", "22", "0:22", "22:65536", "a:22", "1.2.3:22:22", "1:1.2.3.4:x",
                                 "22:22/sctp", "1.1.1.1:1.1.1.1:22:22", ":::", "22:"}) {
    auto const result = parse_forward(text);
    ASSERT_FALSE(result) << text;
    EXPECT_EQ(result.error().code(), Errc::invalid);
    EXPECT_NE(result.error().what().find("2222:22"), std::string::npos);
  }
}

}  // namespace
}  // namespace vireo::net
