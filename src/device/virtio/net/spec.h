#pragma once

#include <array>

#include "vocab/integers.h"

/// The network device of virtio 1.2, chapter 5.1.
namespace vireo::device::virtio::spec {

enum NetFeature : u32 {  // 5.1.3, bit numbers
  VIRTIO_NET_F_CSUM = 0,
  VIRTIO_NET_F_GUEST_CSUM = 1,
  VIRTIO_NET_F_MAC = 5,
  VIRTIO_NET_F_HOST_TSO4 = 11,
  VIRTIO_NET_F_HOST_TSO6 = 12,
  VIRTIO_NET_F_MRG_RXBUF = 15,
  VIRTIO_NET_F_STATUS = 16,
};

struct NetConfig {  // 5.1.4
  std::array<u8, 6> mac;
  u16 status;
};
static_assert(sizeof(NetConfig) == 8);
inline constexpr u16 VIRTIO_NET_S_LINK_UP{1};

enum NetHeaderFlags : u8 {  // 5.1.6
  VIRTIO_NET_HDR_F_NEEDS_CSUM = 1,
  VIRTIO_NET_HDR_F_DATA_VALID = 2,
};
enum NetGsoType : u8 {
  VIRTIO_NET_HDR_GSO_NONE = 0,
  VIRTIO_NET_HDR_GSO_TCPV4 = 1,
  VIRTIO_NET_HDR_GSO_TCPV6 = 4,
  VIRTIO_NET_HDR_GSO_ECN = 0x80,
};

struct NetHeader {
  u8 flags;
  u8 gso_type;
  u16 hdr_len;
  u16 gso_size;
  u16 csum_start;
  u16 csum_offset;
  u16 num_buffers;
};
static_assert(sizeof(NetHeader) == 12);

}  // namespace vireo::device::virtio::spec
