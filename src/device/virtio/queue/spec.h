#pragma once

#include "vocab/integers.h"

/// The ring layouts of virtio 1.2, chapters 2.7 (split) and 2.8 (packed).
namespace vireo::device::virtio::spec {

// 2.7.5 and 2.8.6: descriptor flags
inline constexpr u16 VIRTQ_DESC_F_NEXT{1};
inline constexpr u16 VIRTQ_DESC_F_WRITE{2};
inline constexpr u16 VIRTQ_DESC_F_INDIRECT{4};
inline constexpr u16 VIRTQ_DESC_F_AVAIL{1 << 7};
inline constexpr u16 VIRTQ_DESC_F_USED{1 << 15};

inline constexpr u16 VIRTQ_AVAIL_F_NO_INTERRUPT{1};  // 2.7.6
inline constexpr u16 VIRTQ_USED_F_NO_NOTIFY{1};      // 2.7.8

// 2.8.14: event suppression flags of packed rings
inline constexpr u16 RING_EVENT_FLAGS_ENABLE{0};
inline constexpr u16 RING_EVENT_FLAGS_DISABLE{1};
inline constexpr u16 RING_EVENT_FLAGS_DESC{2};

struct SplitDescriptor {
  u64 address;
  u32 length;
  u16 flags;
  u16 next;
};
static_assert(sizeof(SplitDescriptor) == 16);

struct PackedDescriptor {
  u64 address;
  u32 length;
  u16 id;
  u16 flags;
};
static_assert(sizeof(PackedDescriptor) == 16);

struct RingHeader {  // 2.7.6 available, 2.7.8 used; the entries follow
  u16 flags;
  u16 index;
};
static_assert(sizeof(RingHeader) == 4);

struct UsedElement {
  u32 id;
  u32 length;
};
static_assert(sizeof(UsedElement) == 8);

struct EventSuppression {  // 2.8.14
  u16 offset_wrap;
  u16 flags;
};
static_assert(sizeof(EventSuppression) == 4);

inline constexpr u16 maximum_queue_size{32768};  // 2.7, 2.8

}  // namespace vireo::device::virtio::spec
