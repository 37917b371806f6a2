// Whole devices behind their transport: the driver is the fuzzer, from registers to request headers.
#include <cstdlib>

#include "device/virtio/balloon/balloon.h"
#include "device/virtio/block/block.h"
#include "device/virtio/console/console.h"
#include "device/virtio/net/net.h"
#include "device/virtio/rng/rng.h"
#include "device/virtio/testing/test_machine.h"
#include "net/cable/cable.h"

namespace {

using namespace vireo;
using namespace vireo::device::virtio;
using namespace vireo::device::virtio::testing;

class Disk final : public image::BlockImage {
 public:
  Geometry geometry() const override { return {.bytes = bytes_.size()}; }
  Result<> read(u64 at, Bytes into) override { return copy(at, into.size(), into.data(), &bytes_.at(at)); }
  Result<> write(u64 at, ConstBytes from) override {
    return copy(at, from.size(), &bytes_.at(at), from.data());
  }
  Result<> write_zeroes(u64 at, u64 length, bool) override { return check(at, length); }
  Result<> discard(u64 at, u64 length) override { return check(at, length); }
  Result<> flush() override { return {}; }
  Result<Extent> extent_at(u64 at) override { return Extent{at, 1, Presence::data}; }

 private:
  Result<> check(u64 at, u64 length) const {
    if (at > bytes_.size() || length > bytes_.size() - at) std::abort();  // the device has let it through
    return {};
  }
  Result<> copy(u64 at, u64 length, std::byte* to, std::byte const* from) const {
    TRY(check(at, length));
    std::memcpy(to, from, length);
    return {};
  }
  std::vector<std::byte> bytes_ = std::vector<std::byte>(64 * KiB);
};

std::unique_ptr<VirtioDevice> make_function(u8 kind, memory::GuestMemory& memory) {
  switch (kind % 5) {
    case 0: return std::make_unique<Block>(std::make_shared<Disk>(), BlockOptions{.threads = 1});
    case 1: {
      auto cable = net::make_cable();
      static auto far = std::unique_ptr<net::Port>{};
      far = std::move(cable.second);
      // What the guest sends comes back to it.
      far->set_receiver([](ConstBytes frame) {
        far->send(frame);
        return true;
      });
      return std::make_unique<Net>(std::move(cable.first), NetOptions{});
    }
    case 2: return std::make_unique<Rng>();
    case 3: return std::make_unique<Console>();
    default: return std::make_unique<Balloon>(memory);
  }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(u8 const* data, std::size_t size) {
  if (size < 2) return 0;
  auto machine = TestMachine{[&](memory::GuestMemory& memory) { return make_function(data[0], memory); }};
  machine.bring_up((data[1] & 1 ? ring_packed : 0) | (data[1] & 2 ? indirect : 0) |
                   (data[1] & 4 ? event_index : 0) | (data[1] & 8 ? 0xffff : 0) |
                   (data[1] & 16 ? u64{1} << 40 : 0));
  auto buffers = std::vector<Buffer>{};
  auto at = std::size_t{2};
  auto const take = [&] { return at < size ? data[at++] : u8{0}; };
  auto outstanding = u32{0};
  auto written = u64{0};
  while (at < size) {
    auto const action = take();
    auto const queue = static_cast<u16>(take() % machine.queues.size());
    switch (action % 8) {
      case 0: {  // contents for the next readable buffer
        auto const length = std::min<std::size_t>(take(), size - at);
        auto const place = machine.put(written % MiB, std::as_bytes(std::span{data + at, length}));
        if (length > 0) buffers.push_back({place, static_cast<u32>(length), false});
        written += 256;
        at += length;
        break;
      }
      case 1:
        buffers.push_back({Gpa{TestMachine::buffers + MiB + take() * 512U}, take() * 16U + 1, true});
        break;
      case 2:
        buffers.push_back({Gpa{take() * u64{0x100'0001}}, take() * u32{0x10001}, (take() & 1) != 0});
        break;
      case 3:
      case 4:
        if (buffers.empty() || buffers.size() > 4 || outstanding + buffers.size() > 16) break;
        outstanding += static_cast<u32>(buffers.size());
        machine.queues[queue]->add(buffers, action & 8 ? TestMachine::buffers + 2 * MiB : 0);
        buffers.clear();
        [[fallthrough]];
      case 5: machine.kick(queue); break;
      case 6: machine.device.write_bar(0, take() % 0x40, static_cast<u8>(1 << take() % 4), take()); break;
      default:
        machine.executor.run_waiting();
        if (action & 8) {
          machine.device.stop();
          auto const saved = machine.device.save();
          if (!machine.device.restore(saved)) std::abort();
          machine.device.start();
        }
    }
  }
  machine.device.stop();
  machine.executor.run_waiting();
  return 0;
}
