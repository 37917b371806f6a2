#pragma once

#include "vocab/integers.h"

/// The block device of virtio 1.2, chapter 5.2.
namespace vireo::device::virtio::spec {

enum BlockFeature : u32 {  // 5.2.3, bit numbers
  VIRTIO_BLK_F_SEG_MAX = 2,
  VIRTIO_BLK_F_GEOMETRY = 4,
  VIRTIO_BLK_F_RO = 5,
  VIRTIO_BLK_F_BLK_SIZE = 6,
  VIRTIO_BLK_F_FLUSH = 9,
  VIRTIO_BLK_F_TOPOLOGY = 10,
  VIRTIO_BLK_F_MQ = 12,
  VIRTIO_BLK_F_DISCARD = 13,
  VIRTIO_BLK_F_WRITE_ZEROES = 14,
};

struct BlockConfig {  // 5.2.4
  u64 capacity;       // 512-byte sectors
  u32 size_max;
  u32 seg_max;
  u16 cylinders;
  u8 heads;
  u8 sectors;
  u32 blk_size;
  u8 physical_block_exp;
  u8 alignment_offset;
  u16 min_io_size;
  u32 opt_io_size;
  u8 writeback;
  u8 unused0;
  u16 num_queues;
  u32 max_discard_sectors;
  u32 max_discard_seg;
  u32 discard_sector_alignment;
  u32 max_write_zeroes_sectors;
  u32 max_write_zeroes_seg;
  u8 write_zeroes_may_unmap;
  u8 unused1[7];
};
static_assert(sizeof(BlockConfig) == 64);

enum BlockRequestType : u32 {  // 5.2.6
  VIRTIO_BLK_T_IN = 0,
  VIRTIO_BLK_T_OUT = 1,
  VIRTIO_BLK_T_FLUSH = 4,
  VIRTIO_BLK_T_GET_ID = 8,
  VIRTIO_BLK_T_DISCARD = 11,
  VIRTIO_BLK_T_WRITE_ZEROES = 13,
};

struct BlockRequestHeader {
  u32 type;
  u32 reserved;
  u64 sector;
};
static_assert(sizeof(BlockRequestHeader) == 16);

struct BlockRange {  // struct virtio_blk_discard_write_zeroes
  u64 sector;
  u32 num_sectors;
  u32 flags;
};
static_assert(sizeof(BlockRange) == 16);
inline constexpr u32 VIRTIO_BLK_WRITE_ZEROES_FLAG_UNMAP{1};

enum BlockStatus : u8 { VIRTIO_BLK_S_OK = 0, VIRTIO_BLK_S_IOERR = 1, VIRTIO_BLK_S_UNSUPP = 2 };

inline constexpr u32 sector_bytes{512};
inline constexpr u32 identifier_bytes{20};

}  // namespace vireo::device::virtio::spec
