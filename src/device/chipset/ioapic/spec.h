#pragma once

#include "vocab/integers.h"

/// Intel 82093AA data sheet (290566), chapter 3; EOI register: ICH9 data sheet 13.5.
namespace vireo::device::ioapic_spec {

enum Offset : u32 { RegisterSelect = 0x00, Window = 0x10, Eoi = 0x40 };
enum Register : u8 { Id = 0x00, Version = 0x01, Arbitration = 0x02, Redirection = 0x10 };

enum EntryBit : u64 {  // 3.2.4
  VectorMask = 0xFF,
  DeliveryModeMask = 7 << 8,
  LogicalDestination = 1 << 11,
  DeliveryStatus = 1 << 12,
  ActiveLow = 1 << 13,
  RemoteIrr = 1 << 14,
  LevelTriggered = 1 << 15,
  Masked = 1 << 16,
};
inline constexpr u64 writable_entry_bits{0xFF00'0000'0001'AFFF};
inline constexpr u32 destination_shift{56};

inline constexpr u8 version{0x20};  // has the EOI register
inline constexpr u8 pin_count{24};

// The message that an interrupt becomes: SDM volume 3, 11.11.
inline constexpr u64 message_base{0xFEE0'0000};
inline constexpr u32 message_destination_shift{12};
inline constexpr u64 message_logical{1 << 2};
inline constexpr u32 message_assert{1 << 14};
inline constexpr u32 message_level{1 << 15};

}  // namespace vireo::device::ioapic_spec
