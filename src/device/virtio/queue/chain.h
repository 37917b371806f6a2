#pragma once

#include <optional>
#include <span>
#include <vector>

#include "memory/guest_memory.h"

namespace vireo::device::virtio {

/// A piece of guest memory that lies in one region. The guest may change the bytes at any time: read each once.
struct Segment {
  Gpa at;
  Bytes host;
};

/// A request as the driver queued it: what the device may read, then what it may write.
struct Chain {
  std::vector<Segment> readable;
  std::vector<Segment> writable;
  u32 readable_bytes{};
  u32 writable_bytes{};
  u16 id{};     // names the chain to the driver
  u16 slots{};  // ring entries that it takes
};

/// Copies from `segments`, beginning `offset` bytes in. Returns how many bytes there were.
u64 gather(std::span<Segment const> segments, u64 offset, Bytes into);
/// Copies into `segments`, beginning `offset` bytes in. Returns how many bytes fitted.
u64 scatter(std::span<Segment const> segments, u64 offset, ConstBytes from);
/// The part [offset, offset + length) of `segments`, adjacent pieces joined.
std::vector<Segment> slice(std::span<Segment const> segments, u64 offset, u64 length);

/// Turns hostile descriptors into a Chain. Errors: Errc::corrupt with the reason.
class ChainBuilder {
 public:
  static constexpr u32 maximum_descriptors{1024};

  explicit ChainBuilder(memory::GuestMemory const& memory) : memory_{memory} {}
  Result<> add(u64 address, u32 length, bool writable);
  Chain take(u16 id, u16 slots) &&;

 private:
  memory::GuestMemory const& memory_;
  Chain chain_;
  u32 descriptors_{};
};

}  // namespace vireo::device::virtio
