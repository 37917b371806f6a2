#include "net/nat/nat.h"

#include <arpa/inet.h>
#include <gtest/gtest.h>
#include <sys/socket.h>
#include <unistd.h>

#include <array>
#include <condition_variable>
#include <mutex>

namespace vireo::net {
namespace {

constexpr u8 guest_mac[6]{0x52, 0x54, 0, 0x12, 0x34, 0x56};
constexpr u32 guest_ip{0x0a00020f};
constexpr u32 host_ip{0x0a000202};

/// A socket of the host on 127.0.0.1, port chosen by the kernel.
class HostSocket {
 public:
  explicit HostSocket(int type) : fd_{::socket(AF_INET, type | SOCK_CLOEXEC, 0)} {
    auto address = sockaddr_in{};
    address.sin_family = AF_INET;
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    auto length = socklen_t{sizeof address};
    // SOUND: the socket calls' own way of taking addresses.
    auto* const generic = reinterpret_cast<sockaddr*>(&address);
    EXPECT_EQ(::bind(fd_, generic, length), 0);
    EXPECT_EQ(::getsockname(fd_, generic, &length), 0);
    port_ = ntohs(address.sin_port);
  }
  ~HostSocket() { close(); }
  void close() {
    if (fd_ >= 0) ::close(fd_);
    fd_ = -1;
  }
  int fd() const { return fd_; }
  u16 port() const { return port_; }

 private:
  int fd_;
  u16 port_{};
};

/// Frames that came to the guest, waited for.
class Inbox {
 public:
  explicit Inbox(Port& port) : port_{port} {
    port.set_receiver([this](ConstBytes frame) {
      auto const lock = std::lock_guard{mutex_};
      frames_.emplace_back(frame.begin(), frame.end());
      wake_.notify_all();
      return true;
    });
  }
  ~Inbox() { port_.set_receiver(nullptr); }

  template <typename Predicate>
  std::vector<std::byte> wait_for(Predicate predicate) {
    auto lock = std::unique_lock{mutex_};
    for (auto i = std::size_t{0};; ++i) {
      wake_.wait(lock, [&] { return i < frames_.size(); });
      if (predicate(ConstBytes{frames_[i]})) return frames_[i];
    }
  }

 private:
  Port& port_;
  std::mutex mutex_;
  std::condition_variable wake_;
  std::vector<std::vector<std::byte>> frames_;
};

void put8(std::vector<std::byte>& out, u8 value) { out.push_back(std::byte{value}); }
void put16(std::vector<std::byte>& out, u32 value) {
  put8(out, static_cast<u8>(value >> 8));
  put8(out, static_cast<u8>(value));
}
void put32(std::vector<std::byte>& out, u32 value) {
  put16(out, value >> 16);
  put16(out, value & 0xffff);
}

void ethernet(std::vector<std::byte>& out, u16 type) {
  for (auto i = 0; i < 6; ++i) put8(out, 0xff);
  for (auto const byte : guest_mac) put8(out, byte);
  put16(out, type);
}

std::vector<std::byte> udp_frame(u32 source, u16 source_port, u32 target, u16 target_port, ConstBytes payload) {
  auto frame = std::vector<std::byte>{};
  ethernet(frame, 0x0800);
  auto const start = frame.size();
  auto const total = static_cast<u32>(28 + payload.size());
  put16(frame, 0x4500);
  put16(frame, total);
  put32(frame, 0);
  put16(frame, 64 << 8 | 17);
  put16(frame, 0);
  put32(frame, source);
  put32(frame, target);
  auto sum = u32{0};
  for (auto i = start; i < start + 20; i += 2) sum += load_be<u16>(&frame[i]);
  sum = (sum & 0xffff) + (sum >> 16);
  store_be<u16>(&frame[start + 10], static_cast<u16>(~(sum + (sum >> 16))));
  put16(frame, source_port);
  put16(frame, target_port);
  put16(frame, total - 20);
  put16(frame, 0);
  frame.insert(frame.end(), payload.begin(), payload.end());
  return frame;
}

bool is_udp_to(ConstBytes frame, u16 port) {
  return frame.size() >= 42 && load_be<u16>(&frame[12]) == 0x0800 && frame[23] == std::byte{17} &&
         load_be<u16>(&frame[36]) == port;
}

std::vector<std::byte> arp_reply() {
  auto frame = std::vector<std::byte>{};
  ethernet(frame, 0x0806);
  put32(frame, 0x00010800);
  put32(frame, 0x06040002);
  for (auto const byte : guest_mac) put8(frame, byte);
  put32(frame, guest_ip);
  for (auto i = 0; i < 6; ++i) put8(frame, 0);
  put32(frame, host_ip);
  return frame;
}

TEST(Nat, GivesTheFirstGuestItsAddressByDhcp) {
  auto const nat = Nat::create({}).value();
  auto inbox = Inbox{*nat};
  auto discover = std::vector<std::byte>{};
  put32(discover, 0x01010600);
  put32(discover, 0x12345678);
  for (auto i = 0; i < 5; ++i) put32(discover, 0);
  for (auto const byte : guest_mac) put8(discover, byte);
  discover.resize(236);
  put32(discover, 0x63825363);
  put32(discover, 0x350101ff);
  discover.resize(300);
  nat->send(udp_frame(0, 68, 0xffffffff, 67, discover));
  auto const offer = inbox.wait_for([](ConstBytes frame) { return is_udp_to(frame, 68); });
  EXPECT_EQ(load_be<u32>(&offer[42 + 16]), guest_ip);
}

TEST(Nat, CarriesDatagramsToTheHostAndBack) {
  auto const nat = Nat::create({}).value();
  auto inbox = Inbox{*nat};
  auto server = HostSocket{SOCK_DGRAM};
  nat->send(arp_reply());
  nat->send(udp_frame(guest_ip, 4000, host_ip, server.port(), std::as_bytes(std::span{"ping", 4})));
  auto buffer = std::array<char, 16>{};
  auto from = sockaddr_storage{};
  auto length = socklen_t{sizeof from};
  // SOUND: the socket calls' own way of taking addresses.
  auto* const generic = reinterpret_cast<sockaddr*>(&from);
  ASSERT_EQ(::recvfrom(server.fd(), buffer.data(), buffer.size(), 0, generic, &length), 4);
  ASSERT_EQ(::sendto(server.fd(), "pong!", 5, 0, generic, length), 5);
  auto const reply = inbox.wait_for([](ConstBytes frame) { return is_udp_to(frame, 4000); });
  EXPECT_EQ(std::memcmp(&reply[42], "pong!", 5), 0);
}

TEST(Nat, ForwardsAPortOfTheHostToTheGuest) {
  auto probe = HostSocket{SOCK_STREAM};
  auto const port = probe.port();
  probe.close();
  auto const nat = Nat::create({.forwards = {{.host_port = port, .guest_port = 22}}}).value();
  auto inbox = Inbox{*nat};
  nat->send(arp_reply());
  auto client = HostSocket{SOCK_STREAM};
  auto address = sockaddr_in{};
  address.sin_family = AF_INET;
  address.sin_port = htons(port);
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  // SOUND: the socket calls' own way of taking addresses.
  ASSERT_EQ(::connect(client.fd(), reinterpret_cast<sockaddr*>(&address), sizeof address), 0);
  auto const syn = inbox.wait_for([](ConstBytes frame) {
    return frame.size() >= 54 && load_be<u16>(&frame[12]) == 0x0800 && frame[23] == std::byte{6};
  });
  EXPECT_EQ(load_be<u16>(&syn[36]), 22);
  EXPECT_EQ(load_be<u32>(&syn[30]), guest_ip);
}

TEST(Nat, NamesThePortThatIsInUse) {
  auto taken = HostSocket{SOCK_STREAM};
  ASSERT_EQ(::listen(taken.fd(), 1), 0);
  auto const nat = Nat::create({.forwards = {{.host_port = taken.port(), .guest_port = 22}}});
  ASSERT_FALSE(nat);
  EXPECT_EQ(nat.error().code(), Errc::busy);
  EXPECT_NE(nat.error().what().find(std::to_string(taken.port())), std::string::npos);
}

TEST(Nat, CountsFramesOfImpossibleLength) {
  auto const nat = Nat::create({}).value();
  nat->send(std::vector<std::byte>(13));
  nat->send(std::vector<std::byte>(70000));
  EXPECT_EQ(nat->counters().malformed, 2U);
}

TEST(Nat, SurvivesFramesOfNoise) {
  auto const nat = Nat::create({}).value();
  auto inbox = Inbox{*nat};
  for (auto length = std::size_t{14}; length < 600; length += 7) {
    for (auto const type : {0x0800, 0x0806, 0x86dd, 0}) {
      auto frame = std::vector<std::byte>{};
      ethernet(frame, static_cast<u16>(type));
      for (auto i = frame.size(); i < length; ++i) put8(frame, static_cast<u8>(i * length));
      nat->send(frame);
    }
  }
  auto server = HostSocket{SOCK_DGRAM};
  nat->send(udp_frame(guest_ip, 4000, host_ip, server.port(), std::as_bytes(std::span{"ping", 4})));
  auto buffer = std::array<char, 16>{};
  EXPECT_EQ(::recv(server.fd(), buffer.data(), buffer.size(), 0), 4);
}

}  // namespace
}  // namespace vireo::net
