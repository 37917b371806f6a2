#include "device/virtio/testing/driver_queue.h"

namespace vireo::device::virtio::testing {
namespace {

using namespace spec;

template <typename T>
T get(memory::GuestMemory const& memory, u64 at) {
  return memory.read_as<T>(Gpa{at}).value();
}
template <typename T>
void put(memory::GuestMemory& memory, u64 at, T value) {
  memory.write_as<T>(Gpa{at}, value).value();
}

// What both sides share: indices and flags.
u16 get_shared(memory::GuestMemory const& memory, u64 at) {
  // SOUND: the tests keep their rings aligned and inside of memory.
  return load_shared(*reinterpret_cast<u16*>(memory.host(Gpa{at}, 2, true)), std::memory_order_acquire);
}
void put_shared(memory::GuestMemory& memory, u64 at, u16 value) {
  store_shared(*reinterpret_cast<u16*>(memory.host(Gpa{at}, 2, true)), value,
               std::memory_order_release);  // SOUND: as above
}

class SplitDriverQueue final : public DriverQueue {
 public:
  SplitDriverQueue(memory::GuestMemory& memory, u16 size, u64 area)
      : memory_{memory}, size_{size}, area_{area} {
    for (auto i = u16{0}; i < size; ++i) free_.push_back(static_cast<u16>(size - 1 - i));
  }

  u16 add(std::vector<Buffer> const& buffers, u64 table) override {
    auto ids = std::vector<u16>{};
    auto const slots = table != 0 ? std::size_t{1} : buffers.size();
    for (auto i = std::size_t{0}; i < slots; ++i) {
      ids.push_back(free_.back());
      free_.pop_back();
    }
    auto const flags_of = [&](std::size_t i) {
      auto const next = i + 1 < buffers.size() ? VIRTQ_DESC_F_NEXT : u16{0};
      return static_cast<u16>(next | (buffers[i].writable ? VIRTQ_DESC_F_WRITE : 0));
    };
    for (auto i = std::size_t{0}; i < buffers.size(); ++i) {
      auto const next = i + 1 == buffers.size() ? u16{0} : table != 0 ? static_cast<u16>(i + 1) : ids[i + 1];
      auto const at = table != 0 ? table + i * 16 : area_ + ids[i] * u64{16};
      put(memory_, at, SplitDescriptor{buffers[i].at.value, buffers[i].length, flags_of(i), next});
    }
    if (table != 0) {
      put(memory_, area_ + ids[0] * u64{16},
          SplitDescriptor{table, static_cast<u32>(buffers.size() * 16), VIRTQ_DESC_F_INDIRECT, 0});
    }
    put_shared(memory_, area_ + driver_offset + 4 + 2 * (available_ % size_), ids[0]);
    put_shared(memory_, area_ + driver_offset + 2, ++available_);
    owned_[ids[0]] = ids;
    return ids[0];
  }

  std::optional<Used> poll() override {
    if (get_shared(memory_, area_ + device_offset + 2) == used_) return {};
    auto const element = get<UsedElement>(memory_, area_ + device_offset + 4 + 8 * (used_ % size_));
    ++used_;
    auto const id = static_cast<u16>(element.id);
    free_.insert(free_.end(), owned_[id].begin(), owned_[id].end());
    owned_.erase(id);
    return Used{id, element.length};
  }

  void suppress_interrupts(bool suppress) override {
    put<u16>(memory_, area_ + driver_offset, suppress ? VIRTQ_AVAIL_F_NO_INTERRUPT : u16{0});
  }
  bool device_wants_kick() const override {
    return (get<u16>(memory_, area_ + device_offset) & VIRTQ_USED_F_NO_NOTIFY) == 0;
  }

 private:
  memory::GuestMemory& memory_;
  u16 size_;
  u64 area_;
  u16 available_{0};
  u16 used_{0};
  std::vector<u16> free_;
  std::map<u16, std::vector<u16>> owned_;
};

class PackedDriverQueue final : public DriverQueue {
 public:
  PackedDriverQueue(memory::GuestMemory& memory, u16 size, u64 area)
      : memory_{memory}, size_{size}, area_{area} {
    for (auto i = u16{0}; i < size; ++i) free_.push_back(static_cast<u16>(size - 1 - i));
  }

  u16 add(std::vector<Buffer> const& buffers, u64 table) override {
    auto const id = free_.back();
    free_.pop_back();
    auto const slots = table != 0 ? std::size_t{1} : buffers.size();
    slots_[id] = static_cast<u16>(slots);
    for (auto i = std::size_t{0}; table != 0 && i < buffers.size(); ++i) {
      auto const flags = buffers[i].writable ? VIRTQ_DESC_F_WRITE : u16{0};
      put(memory_, table + i * 16, PackedDescriptor{buffers[i].at.value, buffers[i].length, 0, flags});
    }
    auto const head = next_;
    auto head_flags = u16{0};
    for (auto i = std::size_t{0}; i < slots; ++i) {
      auto descriptor = PackedDescriptor{buffers[i].at.value, buffers[i].length, id, 0};
      if (table != 0)
        descriptor = {table, static_cast<u32>(buffers.size() * 16), id, VIRTQ_DESC_F_INDIRECT};
      else if (buffers[i].writable)
        descriptor.flags |= VIRTQ_DESC_F_WRITE;
      if (i + 1 < slots) descriptor.flags |= VIRTQ_DESC_F_NEXT;
      descriptor.flags |= wrap_ ? VIRTQ_DESC_F_AVAIL : VIRTQ_DESC_F_USED;
      if (i == 0) head_flags = descriptor.flags;
      put(memory_, area_ + next_ * u64{16}, descriptor.address);
      put(memory_, area_ + next_ * u64{16} + 8, descriptor.length);
      put(memory_, area_ + next_ * u64{16} + 12, descriptor.id);
      if (i > 0) put(memory_, area_ + next_ * u64{16} + 14, descriptor.flags);
      if (++next_ == size_) {
        next_ = 0;
        wrap_ = !wrap_;
      }
    }
    put_shared(memory_, area_ + head * u64{16} + 14, head_flags);
    return id;
  }

  std::optional<Used> poll() override {
    auto const flags = get_shared(memory_, area_ + used_ * u64{16} + 14);
    auto const available = (flags & VIRTQ_DESC_F_AVAIL) != 0;
    auto const used = (flags & VIRTQ_DESC_F_USED) != 0;
    if (available != used_wrap_ || used != used_wrap_) return {};
    auto const descriptor = get<PackedDescriptor>(memory_, area_ + used_ * u64{16});
    used_ = static_cast<u16>(used_ + slots_[descriptor.id]);
    if (used_ >= size_) {
      used_ = static_cast<u16>(used_ - size_);
      used_wrap_ = !used_wrap_;
    }
    free_.push_back(descriptor.id);
    return Used{descriptor.id, descriptor.length};
  }

  void suppress_interrupts(bool suppress) override {
    put<u16>(memory_, area_ + driver_offset + 2, suppress ? RING_EVENT_FLAGS_DISABLE : RING_EVENT_FLAGS_ENABLE);
  }
  bool device_wants_kick() const override {
    return get<u16>(memory_, area_ + device_offset + 2) != RING_EVENT_FLAGS_DISABLE;
  }

 private:
  memory::GuestMemory& memory_;
  u16 size_;
  u64 area_;
  u16 next_{0};
  bool wrap_{true};
  u16 used_{0};
  bool used_wrap_{true};
  std::vector<u16> free_;
  std::map<u16, u16> slots_;
};

}  // namespace

std::unique_ptr<DriverQueue> DriverQueue::make(bool packed, memory::GuestMemory& memory, u16 size, u64 area) {
  if (packed) return std::make_unique<PackedDriverQueue>(memory, size, area);
  return std::make_unique<SplitDriverQueue>(memory, size, area);
}

}  // namespace vireo::device::virtio::testing
