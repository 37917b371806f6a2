#include "device/virtio/queue/ring.h"

#include <fmt/format.h>

namespace vireo::device::virtio {

using namespace spec;

Result<std::byte*> ring_area(memory::GuestMemory const& memory, u64 address, u64 bytes, u64 alignment,
                             std::string_view name) {
  if (address % alignment != 0) {
    return fail(Errc::corrupt, fmt::format("{} at {:#x} is not aligned to {}", name, address, alignment));
  }
  auto* const host = memory.host(Gpa{address}, bytes, true);
  if (host == nullptr) return fail(Errc::corrupt, fmt::format("{} at {:#x} is not in RAM", name, address));
  return host;
}

Result<> add_indirect_table(memory::GuestMemory const& memory, ChainBuilder& builder, u64 address, u32 length,
                            bool packed) {
  auto const count = length / u32{sizeof(SplitDescriptor)};
  if (count == 0 || length % sizeof(SplitDescriptor) != 0 || count > ChainBuilder::maximum_descriptors) {
    return fail(Errc::corrupt, fmt::format("indirect table of {} bytes", length));
  }
  auto const read_entry = [&]<typename Entry>(u32 index, Entry) -> Result<Entry> {
    auto const at = address + u64{index} * sizeof(Entry);
    if (at < address) return fail(Errc::corrupt, "indirect table wraps around the address space");
    auto const entry = TRY(memory.read_as<Entry>(Gpa{at}));
    if ((entry.flags & VIRTQ_DESC_F_INDIRECT) != 0) return fail(Errc::corrupt, "indirect table inside another");
    return entry;
  };
  if (packed) {
    for (auto index = u32{0}; index < count; ++index) {
      auto const entry = TRY(read_entry(index, PackedDescriptor{}));
      TRY(builder.add(entry.address, entry.length, (entry.flags & VIRTQ_DESC_F_WRITE) != 0));
    }
    return {};
  }
  auto index = u32{0};
  for (auto visited = u32{0}; visited < count; ++visited) {
    auto const entry = TRY(read_entry(index, SplitDescriptor{}));
    TRY(builder.add(entry.address, entry.length, (entry.flags & VIRTQ_DESC_F_WRITE) != 0));
    if ((entry.flags & VIRTQ_DESC_F_NEXT) == 0) return {};
    if (entry.next >= count)
      return fail(Errc::corrupt, fmt::format("indirect entry {} of {}", entry.next, count));
    index = entry.next;
  }
  return fail(Errc::corrupt, "loop in an indirect table");
}

}  // namespace vireo::device::virtio
