#pragma once

#include <vector>

#include "vocab/numbers.h"

namespace vireo::firmware {

/// Kinds of the ACPI system address map (ACPI 6.5, table 15.4); the numbers go into e820 and PVH tables as they
/// are.
enum class MemoryKind : u32 { ram = 1, reserved = 2, acpi = 3, nvs = 4 };

struct MemoryMapEntry {
  GpaRange range;
  MemoryKind kind{};
};
using MemoryMap = std::vector<MemoryMapEntry>;  // ordered, disjoint

}  // namespace vireo::firmware
