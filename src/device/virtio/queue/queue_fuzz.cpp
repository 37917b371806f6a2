// A ring whose every byte comes from the fuzzer, changed between the device's steps as a guest would.
#include <algorithm>
#include <cstdlib>

#include "device/virtio/queue/virtqueue.h"

namespace {

using namespace vireo;
using namespace vireo::device::virtio;

constexpr u64 memory_bytes{64 * KiB};

class Input {
 public:
  Input(u8 const* data, std::size_t size) : data_{data}, left_{size} {}
  template <typename T>
  T take() {
    auto value = T{};
    auto const bytes = std::min(left_, sizeof value);
    std::memcpy(&value, data_, bytes);
    data_ += bytes;
    left_ -= bytes;
    return value;
  }
  bool empty() const { return left_ == 0; }

 private:
  u8 const* data_;
  std::size_t left_;
};

/// Reads and writes every byte that the chain claims to have.
void use(Chain const& chain) {
  auto sum = u64{0};
  auto buffer = std::vector<std::byte>(std::min<u32>(chain.readable_bytes, 1U << 20));
  if (gather(chain.readable, 0, buffer) != buffer.size()) std::abort();
  for (auto const byte : buffer) sum += std::to_integer<u64>(byte);
  buffer.assign(std::min<u32>(chain.writable_bytes, 1U << 20), static_cast<std::byte>(sum));
  if (scatter(chain.writable, 0, buffer) != buffer.size()) std::abort();
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(u8 const* data, std::size_t size) {
  static auto memory = [] {
    auto fresh = std::make_unique<memory::GuestMemory>();
    if (!fresh->add({Gpa{0}, memory_bytes / 2}, memory::RegionKind::ram)) std::abort();
    if (!fresh->add({Gpa{memory_bytes / 2}, memory_bytes / 2}, memory::RegionKind::ram)) std::abort();
    return fresh;
  }();
  for (auto const& region : memory->blocks()) std::memset(region.host, 0, region.range.length);

  auto input = Input{data, size};
  auto const flags = input.take<u8>();
  auto queue = Virtqueue{*memory, 256};
  queue.state().size = static_cast<u16>(1 + input.take<u8>() % 256);
  queue.state().descriptors = input.take<u16>() & 0xfff0U;
  queue.state().driver = input.take<u16>() & 0xfffcU;
  queue.state().device = input.take<u16>() & 0xfffcU;
  auto const options =
      RingOptions{.packed = (flags & 1) != 0, .indirect = (flags & 2) != 0, .event_index = (flags & 4) != 0};
  if (!queue.map(options)) return 0;

  auto held = std::vector<Chain>{};
  while (!input.empty()) {
    switch (auto const action = input.take<u8>(); action % 8) {
      case 0:
      case 1:
      case 2: {  // the guest writes
        auto const at = input.take<u16>();
        auto const value = input.take<u64>();
        if (at <= memory_bytes - sizeof value && !memory->write_as(Gpa{at}, value)) std::abort();
        break;
      }
      case 3:  // ... a descriptor that means something
        if (!memory->write_as(
                Gpa{queue.state().descriptors + 16 * u64{input.take<u8>()} % (16 * queue.state().size)},
                spec::SplitDescriptor{input.take<u16>(), input.take<u16>(), input.take<u16>(),
                                      input.take<u16>()})) {
          std::abort();
        }
        break;
      case 4: {
        auto chain = queue.pop();
        if (!chain || !*chain) break;
        use(**chain);
        held.push_back(std::move(**chain));
        if (held.size() > queue.state().size) std::abort();
        break;
      }
      case 5: {
        if (held.empty()) break;
        auto const which = held.begin() + (action / 8) % static_cast<std::ptrdiff_t>(held.size());
        queue.push(*which, which->writable_bytes);
        held.erase(which);
        break;
      }
      case 6: {  // taking back the pop that has just been
        auto chain = queue.pop();
        if (chain && *chain) queue.unpop(**chain);
        break;
      }
      default:
        queue.should_notify();
        queue.enable_notifications();
        queue.disable_notifications();
    }
    if (!plausible(queue.state(), 256, options.packed)) std::abort();
  }
  return 0;
}
