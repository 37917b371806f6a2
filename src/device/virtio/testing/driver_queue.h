#pragma once

#include <map>
#include <optional>
#include <string_view>
#include <vector>

#include "device/virtio/queue/ring.h"

namespace vireo::device::virtio::testing {

struct Buffer {
  Gpa at;
  u32 length;
  bool writable;
};
struct Used {
  u16 id;
  u32 length;
  bool operator==(Used const&) const = default;
};

/// The driver's side of a virtqueue, written from the specification and sharing no code with the device's side.
class DriverQueue {
 public:
  virtual ~DriverQueue() = default;
  /// Makes a chain available and returns its id. Through an indirect table if `table` is not zero.
  virtual u16 add(std::vector<Buffer> const& buffers, u64 table = 0) = 0;
  virtual std::optional<Used> poll() = 0;
  virtual void suppress_interrupts(bool suppress) = 0;
  /// Whether the device asks to be notified of the last add() (flags only; event index aside).
  virtual bool device_wants_kick() const = 0;

  static std::unique_ptr<DriverQueue> make(bool packed, memory::GuestMemory& memory, u16 size, u64 area);
  /// Bytes that make() takes from `area` on; descriptors, driver and device areas begin at +0, +0x4000,
  /// +0x8000.
  static constexpr u64 area_bytes{0xc000};
  static constexpr u64 driver_offset{0x4000};
  static constexpr u64 device_offset{0x8000};
};

}  // namespace vireo::device::virtio::testing
