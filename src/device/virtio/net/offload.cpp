#include "device/virtio/net/offload.h"

#include <algorithm>
#include <optional>
#include <vector>

namespace vireo::device::virtio {
namespace {

using namespace spec;

constexpr u16 ethertype_ipv4{0x0800};
constexpr u16 ethertype_ipv6{0x86dd};
constexpr u16 ethertype_vlan{0x8100};
constexpr u8 protocol_tcp{6};
constexpr u8 protocol_udp{17};
constexpr std::size_t ethernet_bytes{14};
constexpr std::size_t ipv6_bytes{40};
constexpr std::size_t tcp_bytes{20};
constexpr std::size_t smallest_segment{8};

// TCP header (RFC 9293, 3.1)
constexpr std::size_t tcp_sequence{4};
constexpr std::size_t tcp_flags{13};
constexpr std::size_t tcp_checksum{16};
constexpr u8 tcp_fin_psh{0x09};
constexpr u8 tcp_cwr{0x80};

u8 byte_at(ConstBytes bytes, std::size_t offset) { return std::to_integer<u8>(bytes[offset]); }

/// RFC 1071, not yet folded; `sum` carries over from an even number of bytes.
u64 add_up(ConstBytes bytes, u64 sum) {
  auto i = std::size_t{0};
  for (; i + 4 <= bytes.size(); i += 4) sum += load_le<u32>(&bytes[i]);
  for (; i + 2 <= bytes.size(); i += 2) sum += load_le<u16>(&bytes[i]);
  if (i < bytes.size()) sum += byte_at(bytes, i);
  return sum;
}

/// The checksum as it lies in memory (the sum of network-order words commutes with the byte order).
u16 fold(u64 sum) {
  while (sum >> 16 != 0) sum = (sum & 0xffff) + (sum >> 16);
  return static_cast<u16>(~sum);
}

u64 pseudo_header(ConstBytes addresses, u8 protocol, std::size_t length) {
  auto tail = std::array<std::byte, 8>{};
  store_be<u32>(&tail[0], static_cast<u32>(length));
  tail[7] = std::byte{protocol};
  return add_up(tail, add_up(addresses, 0));
}

struct Layers {
  bool ipv6;
  std::size_t network;    // offset of the IP header
  std::size_t transport;  // offset of what IP carries
  std::size_t end;        // of the IP packet
  u8 protocol;
};

/// Errors out on fragments, IPv6 extension headers and anything that does not fit.
std::optional<Layers> layers_of(ConstBytes frame) {
  if (frame.size() < ethernet_bytes) return {};
  auto offset = ethernet_bytes;
  auto type = load_be<u16>(&frame[12]);
  if (type == ethertype_vlan && frame.size() >= ethernet_bytes + 4) {
    type = load_be<u16>(&frame[16]);
    offset += 4;
  }
  auto const packet = frame.subspan(offset);
  if (type == ethertype_ipv6) {
    if (packet.size() < ipv6_bytes) return {};
    auto const end = ipv6_bytes + load_be<u16>(&packet[4]);
    if (end > packet.size()) return {};
    return Layers{true, offset, offset + ipv6_bytes, offset + end, byte_at(packet, 6)};
  }
  if (type != ethertype_ipv4 || packet.size() < 20) return {};
  auto const header = std::size_t{4} * (byte_at(packet, 0) & 0xfU);
  auto const end = std::size_t{load_be<u16>(&packet[2])};
  auto const fragment = (load_be<u16>(&packet[6]) & 0x3fff) != 0;
  if (fragment || header < 20 || end < header || end > packet.size()) return {};
  return Layers{false, offset, offset + header, offset + end, byte_at(packet, 9)};
}

ConstBytes addresses(ConstBytes frame, Layers const& layers) {
  return layers.ipv6 ? frame.subspan(layers.network + 8, 32) : frame.subspan(layers.network + 12, 8);
}

void fix_network_header(Bytes segment, Layers const& layers, u16 index) {
  auto const network = segment.subspan(layers.network);
  if (layers.ipv6) return store_be<u16>(&network[4], static_cast<u16>(network.size() - ipv6_bytes));
  store_be<u16>(&network[2], static_cast<u16>(network.size()));
  store_be<u16>(&network[4], static_cast<u16>(load_be<u16>(&network[4]) + index));
  store_le<u16>(&network[10], 0);
  store_le<u16>(&network[10], fold(add_up(network.first(layers.transport - layers.network), 0)));
}

/// TCP segmentation as the specification's TSO: each piece gets its own headers.
bool segment(NetHeader const& header, ConstBytes frame, std::function<void(ConstBytes)> const& emit) {
  auto const type = header.gso_type & ~VIRTIO_NET_HDR_GSO_ECN;
  if (type != VIRTIO_NET_HDR_GSO_TCPV4 && type != VIRTIO_NET_HDR_GSO_TCPV6) return false;
  auto const layers = layers_of(frame);
  if (!layers || layers->protocol != protocol_tcp || layers->ipv6 != (type == VIRTIO_NET_HDR_GSO_TCPV6))
    return false;
  if (layers->end - layers->transport < tcp_bytes || header.gso_size < smallest_segment) return false;
  auto const tcp_length = std::size_t{4} * (byte_at(frame, layers->transport + 12) >> 4);
  auto const headers = layers->transport + tcp_length;
  if (tcp_length < tcp_bytes || headers > layers->end) return false;
  auto const payload = frame.subspan(headers, layers->end - headers);
  auto const sequence = load_be<u32>(&frame[layers->transport + tcp_sequence]);
  auto const flags = byte_at(frame, layers->transport + tcp_flags);
  auto piece = std::vector<std::byte>{};
  auto index = u16{0};
  for (auto at = std::size_t{0}; at < payload.size() || at == 0; at += header.gso_size, ++index) {
    auto const part = payload.subspan(at, std::min<std::size_t>(header.gso_size, payload.size() - at));
    piece.assign(frame.begin(), frame.begin() + static_cast<std::ptrdiff_t>(headers));
    piece.insert(piece.end(), part.begin(), part.end());
    fix_network_header(piece, *layers, index);
    auto const tcp = Bytes{piece}.subspan(layers->transport);
    auto kept = flags;
    if (at + part.size() < payload.size()) kept &= static_cast<u8>(~tcp_fin_psh);
    if (at > 0) kept &= static_cast<u8>(~tcp_cwr);
    tcp[tcp_flags] = std::byte{kept};
    store_be<u32>(&tcp[tcp_sequence], sequence + static_cast<u32>(at));
    store_le<u16>(&tcp[tcp_checksum], 0);
    auto const sum = pseudo_header(addresses(piece, *layers), protocol_tcp, tcp.size());
    store_le<u16>(&tcp[tcp_checksum], fold(add_up(tcp, sum)));
    emit(piece);
  }
  return true;
}

}  // namespace

bool finish_frame(NetHeader const& header, Bytes frame, std::function<void(ConstBytes)> const& emit) {
  if (header.gso_type != VIRTIO_NET_HDR_GSO_NONE) return segment(header, frame, emit);
  if ((header.flags & VIRTIO_NET_HDR_F_NEEDS_CSUM) != 0) {
    auto const field = std::size_t{header.csum_start} + header.csum_offset;
    if (field + 2 > frame.size()) return false;
    // The driver has put the pseudo header's sum into the field.
    auto const checksum = fold(add_up(frame.subspan(header.csum_start), 0));
    store_le<u16>(&frame[field], checksum == 0 ? u16{0xffff} : checksum);
  }
  emit(frame);
  return true;
}

bool checksum_is_valid(ConstBytes frame) {
  auto const layers = layers_of(frame);
  if (!layers) return false;
  auto const body = frame.subspan(layers->transport, layers->end - layers->transport);
  auto const is_udp = layers->protocol == protocol_udp && body.size() >= 8 && load_le<u16>(&body[6]) != 0;
  auto const is_tcp = layers->protocol == protocol_tcp && body.size() >= tcp_bytes;
  if (!is_udp && !is_tcp) return false;
  return fold(add_up(body, pseudo_header(addresses(frame, *layers), layers->protocol, body.size()))) == 0;
}

}  // namespace vireo::device::virtio
