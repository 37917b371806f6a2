#pragma once

#include "vocab/numbers.h"

namespace vireo::firmware {

/// How the bootstrap processor starts. Flat segments, interrupts off.
struct BootEntry {
  enum class Mode : u8 {
    long64,       // Linux 64-bit boot protocol: paging by `page_table`, RSI = `argument`
    protected32,  // PVH: paging off, EBX = `argument`
  };
  Mode mode{};
  u64 rip{};
  u64 argument{};
  u64 page_table{};
  u64 gdt{};
  u16 gdt_limit{};
  u16 code_selector{}, data_selector{};
};

}  // namespace vireo::firmware
