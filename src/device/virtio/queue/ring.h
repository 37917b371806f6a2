#pragma once

#include <atomic>
#include <memory>
#include <optional>
#include <span>

#include "device/virtio/queue/chain.h"
#include "device/virtio/queue/spec.h"

namespace vireo::device::virtio {

/// One queue's registers and positions: everything of it that is saved. Indices count as the ring's format
/// does.
struct QueueState {
  u64 descriptors{};  // guest-physical addresses of the three areas
  u64 driver{};
  u64 device{};
  u16 size{};
  u16 vector{0xffff};
  u16 enabled{};
  u16 next_available{};  // split: free-running; packed: a slot
  u16 next_used{};
  u16 signalled{};  // next_used when the driver was last asked whether it wants an interrupt
  u16 signalled_valid{};
  u16 available_wrap{1};  // packed rings
  u16 used_wrap{1};
  u16 broken{};  // the driver broke the rules: nothing moves until a reset
  u16 reserved[2]{};
};
static_assert(sizeof(QueueState) == 48);

struct RingOptions {
  bool packed{};
  bool indirect{};
  bool event_index{};
};

struct Completion {
  u16 id;
  u16 slots;
  u32 written;
};

/// The device's side of one ring in guest memory. Guest vCPUs touch the same bytes at the same time.
class Ring {
 public:
  virtual ~Ring() = default;
  virtual Result<std::optional<Chain>> pop() = 0;
  /// Takes back the last pop(), whose chain this is.
  virtual void unpop(Chain const& chain) = 0;
  /// Counts a chain as popped. False: so many the ring cannot have.
  virtual bool adopt(Chain const& chain) = 0;
  /// The driver sees all of them at once.
  virtual void push(std::span<Completion const> completions) = 0;
  virtual bool has_available() const = 0;
  virtual void disable_notifications() = 0;
  /// Asks to be told of the next chain. A full barrier: a chain that came before is seen by has_available().
  virtual void enable_notifications() = 0;
  /// Whether the driver wants an interrupt for what was pushed since the last call.
  virtual bool should_notify() = 0;
};

/// Finds the ring's areas in guest memory. Errors: an area is misaligned, outside of RAM or crosses a region's
/// end.
Result<std::unique_ptr<Ring>> make_split_ring(memory::GuestMemory const& memory, QueueState& state,
                                              RingOptions options);
Result<std::unique_ptr<Ring>> make_packed_ring(memory::GuestMemory const& memory, QueueState& state,
                                               RingOptions options);

/// The host address of one ring area.
Result<std::byte*> ring_area(memory::GuestMemory const& memory, u64 address, u64 bytes, u64 alignment,
                             std::string_view name);
/// Appends the descriptors of an indirect table (2.7.5.3: a list by `next`; 2.8.7: packed, in order).
Result<> add_indirect_table(memory::GuestMemory const& memory, ChainBuilder& builder, u64 address, u32 length,
                            bool packed);

/// 2.7.10: whether `event` lies in (old, now], in 16-bit arithmetic.
constexpr bool event_passed(u16 event, u16 now, u16 old) {
  return static_cast<u16>(now - event - 1) < static_cast<u16>(now - old);
}

// Ring indices and flags: single aligned 16-bit accesses, ordered against the bytes that they publish. Where a
// store must be seen before a later load is made (2.7.10.1, 2.7.13.4) it is sequentially consistent: a full
// barrier on x86.
inline u16 load_shared(u16 const& field, std::memory_order order) {
  // SOUND: atomic_ref only lacks a const form in C++23; the load does not write.
  return std::atomic_ref<u16>{const_cast<u16&>(field)}.load(order);
}
inline void store_shared(u16& field, u16 value, std::memory_order order) {
  std::atomic_ref<u16>{field}.store(value, order);
}

}  // namespace vireo::device::virtio
