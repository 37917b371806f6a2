#include "device/virtio/net/offload.h"

#include <gtest/gtest.h>

#include <numeric>
#include <vector>

namespace vireo::device::virtio {
namespace {

using namespace spec;

/// A TCP frame from 10.0.2.15:1000 to 10.0.2.2:2000, checksum field left for the device.
std::vector<std::byte> tcp_frame(bool ipv6, std::size_t payload) {
  auto const transport = std::size_t{ipv6 ? 54U : 34U};
  auto frame = std::vector<std::byte>(transport + 20 + payload);
  auto const set16 = [&](std::size_t at, std::size_t value) {
    store_be<u16>(&frame[at], static_cast<u16>(value));
  };
  set16(12, ipv6 ? 0x86dd : 0x0800);
  if (ipv6) {
    set16(14, 0x6000);
    set16(18, 20 + payload);
    set16(20, 0x0640);
    set16(22, 0xfec0);
    set16(38, 0xfec0);
    set16(52, 2);
  } else {
    set16(14, 0x4500);
    set16(16, 40 + payload);
    set16(22, 0x4006);
    store_be<u32>(&frame[26], 0x0a00020f);
    store_be<u32>(&frame[30], 0x0a000202);
  }
  set16(transport, 1000);
  set16(transport + 2, 2000);
  store_be<u32>(&frame[transport + 4], 0xffffff00);  // the sequence number wraps in the middle
  set16(transport + 12, 0x5089);                     // CWR, PSH, FIN
  for (auto i = std::size_t{0}; i < payload; ++i) frame[transport + 20 + i] = static_cast<std::byte>(i * 7);
  return frame;
}

std::vector<std::vector<std::byte>> cut(NetHeader const& header, std::vector<std::byte> frame) {
  auto pieces = std::vector<std::vector<std::byte>>{};
  finish_frame(header, frame, [&](ConstBytes piece) { pieces.emplace_back(piece.begin(), piece.end()); });
  return pieces;
}

TEST(Offload, CutsTcpIntoSegmentsWithRightChecksums) {
  for (auto const ipv6 : {false, true}) {
    auto const transport = std::size_t{ipv6 ? 54U : 34U};
    auto const original = tcp_frame(ipv6, 3500);
    auto const type = static_cast<u8>(ipv6 ? VIRTIO_NET_HDR_GSO_TCPV6 : VIRTIO_NET_HDR_GSO_TCPV4);
    auto const pieces = cut({.flags = 1, .gso_type = type, .gso_size = 1448}, original);
    ASSERT_EQ(pieces.size(), 3U);
    auto rejoined = std::vector<std::byte>{};
    for (auto const& piece : pieces) {
      EXPECT_TRUE(checksum_is_valid(piece));
      EXPECT_EQ(load_be<u32>(&piece[transport + 4]), static_cast<u32>(0xffffff00U + rejoined.size()));
      rejoined.insert(rejoined.end(), piece.begin() + static_cast<i64>(transport) + 20, piece.end());
    }
    EXPECT_TRUE(
        std::equal(rejoined.begin(), rejoined.end(), original.begin() + static_cast<i64>(transport) + 20));
    EXPECT_EQ(pieces[0][transport + 13], std::byte{0x80});
    EXPECT_EQ(pieces[1][transport + 13], std::byte{0x00});
    EXPECT_EQ(pieces[2][transport + 13], std::byte{0x09});
  }
}

TEST(Offload, CompletesAChecksumFromThePseudoHeaderOn) {
  auto frame = tcp_frame(false, 101);
  auto sum = u32{0};
  for (auto at = std::size_t{26}; at < 34; at += 2) sum += load_be<u16>(&frame[at]);
  sum += 6 + 121;
  store_be<u16>(&frame[34 + 16], static_cast<u16>((sum & 0xffff) + (sum >> 16)));
  auto const pieces = cut({.flags = 1, .csum_start = 34, .csum_offset = 16}, frame);
  ASSERT_EQ(pieces.size(), 1U);
  EXPECT_TRUE(checksum_is_valid(pieces[0]));
}

TEST(Offload, SeesADamagedByte) {
  auto piece = cut({.gso_type = VIRTIO_NET_HDR_GSO_TCPV4, .gso_size = 9000}, tcp_frame(false, 999)).at(0);
  piece.back() ^= std::byte{1};
  EXPECT_FALSE(checksum_is_valid(piece));
}

TEST(Offload, RefusesHeadersThatDoNotFitTheFrame) {
  auto const frame = tcp_frame(false, 100);
  EXPECT_TRUE(cut({.flags = 1, .csum_start = 150, .csum_offset = 16}, frame).empty());
  EXPECT_TRUE(cut({.flags = 1, .csum_start = 65535, .csum_offset = 65535}, frame).empty());
  EXPECT_TRUE(cut({.gso_type = VIRTIO_NET_HDR_GSO_TCPV6, .gso_size = 100}, frame).empty());
  EXPECT_TRUE(cut({.gso_type = VIRTIO_NET_HDR_GSO_TCPV4, .gso_size = 0}, frame).empty());
  EXPECT_TRUE(cut({.gso_type = 3, .gso_size = 100}, frame).empty());
}

TEST(Offload, SurvivesEveryTruncation) {
  for (auto const ipv6 : {false, true}) {
    auto const whole = tcp_frame(ipv6, 40);
    for (auto length = std::size_t{0}; length < whole.size(); ++length) {
      auto const part = std::vector<std::byte>(whole.begin(), whole.begin() + static_cast<i64>(length));
      auto const type = static_cast<u8>(ipv6 ? VIRTIO_NET_HDR_GSO_TCPV6 : VIRTIO_NET_HDR_GSO_TCPV4);
      EXPECT_TRUE(cut({.gso_type = type, .gso_size = 8}, part).empty());
      EXPECT_FALSE(checksum_is_valid(part));
    }
  }
}

}  // namespace
}  // namespace vireo::device::virtio
