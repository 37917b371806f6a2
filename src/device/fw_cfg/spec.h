#pragma once

#include "vocab/integers.h"

/// The firmware configuration interface, as QEMU's docs/specs/fw_cfg describes it: keys, data, DMA. Numbers of
/// the directory and of DMA are big-endian.
namespace vireo::device::fw_cfg_spec {

enum Port : u16 { Selector = 0x510, Data = 0x511, DmaHigh = 0x514, DmaLow = 0x518 };

enum Key : u16 {
  Signature = 0x00,
  Id = 0x01,
  RamSize = 0x03,
  Graphics = 0x04,
  CpuCount = 0x05,
  BootMenu = 0x0E,
  MaxCpus = 0x0F,
  FileDirectory = 0x19,
  FileFirst = 0x20,
};

inline constexpr u32 id_traditional{1 << 0}, id_dma{1 << 1};
inline constexpr u64 dma_signature{0x51454D5520434647};  // "QEMU CFG"
inline constexpr u32 name_bytes{56};

enum DmaControl : u32 { DmaError = 1, DmaRead = 2, DmaSkip = 4, DmaSelect = 8, DmaWrite = 16 };

struct DmaAccess {
  u32 control;
  u32 length;
  u64 address;
};
static_assert(sizeof(DmaAccess) == 16);

}  // namespace vireo::device::fw_cfg_spec
