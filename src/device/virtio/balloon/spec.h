#pragma once

#include "vocab/integers.h"

/// The memory balloon of virtio 1.2, chapter 5.5.
namespace vireo::device::virtio::spec {

enum BalloonFeature : u32 {  // 5.5.3, bit numbers
  VIRTIO_BALLOON_F_STATS_VQ = 1,
  VIRTIO_BALLOON_F_DEFLATE_ON_OOM = 2,
  VIRTIO_BALLOON_F_PAGE_POISON = 4,
  VIRTIO_BALLOON_F_PAGE_REPORTING = 5,
};

struct BalloonConfig {  // 5.5.4
  u32 num_pages;        // wanted, in 4096-byte pages
  u32 actual;
  u32 free_page_hint_cmd_id;
  u32 poison_val;
};
static_assert(sizeof(BalloonConfig) == 16);

enum BalloonStatistic : u16 {  // 5.5.6.4
  VIRTIO_BALLOON_S_SWAP_IN = 0,
  VIRTIO_BALLOON_S_SWAP_OUT = 1,
  VIRTIO_BALLOON_S_MAJFLT = 2,
  VIRTIO_BALLOON_S_MINFLT = 3,
  VIRTIO_BALLOON_S_MEMFREE = 4,
  VIRTIO_BALLOON_S_MEMTOT = 5,
  VIRTIO_BALLOON_S_AVAIL = 6,
  VIRTIO_BALLOON_S_CACHES = 7,
  VIRTIO_BALLOON_S_HTLB_PGALLOC = 8,
  VIRTIO_BALLOON_S_HTLB_PGFAIL = 9,
};
inline constexpr u32 balloon_statistic_bytes{10};  // u16 tag, u64 value, packed

}  // namespace vireo::device::virtio::spec
