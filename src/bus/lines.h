#pragma once

#include <string>

#include "vocab/integers.h"

namespace vireo::bus {

/// A level-carrying interrupt wire. Edge-triggered inputs react to the change from low to high.
class IrqLine {
 public:
  virtual ~IrqLine() = default;
  virtual void set(bool high) = 0;

  void pulse() {
    set(true);
    set(false);
  }
};

/// A message-signalled interrupt: the write that a device would make (SDM vol. 3, 11.11). May be called on any
/// thread.
class MsiSink {
 public:
  virtual ~MsiSink() = default;
  virtual void signal(u64 address, u32 data) = 0;
};

/// What a device may ask of the machine as a whole. Each call only notes the wish; the machine acts later. Any
/// thread.
class MachineControl {
 public:
  virtual ~MachineControl() = default;
  virtual void request_reset(char const* reason) = 0;
  virtual void request_power_off() = 0;
  /// Until the user lets it go on. `reason` is for people.
  virtual void request_pause(std::string reason) = 0;
  /// The machine cannot go on.
  virtual void request_failure(std::string reason) = 0;
};

}  // namespace vireo::bus
