#pragma once

#include <span>

#include "bus/access.h"
#include "state/saved.h"
#include "vocab/result.h"

namespace vireo::bus {

class PciFunction;

/// A device answers a few questions (null: not on that bus) and has a life cycle without defaults.
///
/// Everything here, and every register access, runs on the machine's one executor (bus/executor.h): a device is
/// never called concurrently. Values, addresses and lengths come from a hostile guest: they are never asserted
/// on.
class Device {
 public:
  virtual ~Device() = default;

  virtual PioTarget* pio() { return nullptr; }
  virtual MmioTarget* mmio() { return nullptr; }
  virtual PciFunction* pci() { return nullptr; }

  /// Starts timers and workers. Only after reset() or restore(), or after stop().
  virtual void start() = 0;
  /// On return nothing of ours runs and nothing in flight is lost.
  virtual void stop() = 0;
  /// This and the rest: only while stopped. The state becomes that of a new device.
  virtual void reset() = 0;
  virtual state::Saved save() const = 0;
  /// On error the device is as after reset().
  virtual Result<> restore(state::Saved const& saved) = 0;
};

}  // namespace vireo::bus
