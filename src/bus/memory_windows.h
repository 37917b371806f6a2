#pragma once

#include <vector>

#include "memory/guest_memory.h"

namespace vireo::bus {

/// Who lays windows over guest memory; later ones lie above earlier ones.
enum class WindowLayer : u8 { legacy_video, shadow, pci, flash, a20, count };

/// What guest-physical addresses show while the machine runs. Executor only, also within a register access; on
/// return no vCPU uses what it knew of them before.
class MemoryWindows {
 public:
  virtual ~MemoryWindows() = default;
  /// In place of the layer's windows so far.
  virtual void set(WindowLayer layer, std::vector<memory::GuestMemory::Window> windows) = 0;
};

}  // namespace vireo::bus
