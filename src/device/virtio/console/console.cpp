#include "device/virtio/console/console.h"

namespace vireo::device::virtio {
namespace {

using namespace spec;

constexpr u16 receive_queue{0};
constexpr u16 transmit_queue{1};
constexpr u32 emergency_offset{8};

}  // namespace

Console::Console()
    : description_{
          .id = DeviceId::console, .class_code = 0x078000, .name = "virtio-console", .queue_sizes = {64, 64}} {}

u64 Console::features() const {
  return u64{1} << VIRTIO_CONSOLE_F_SIZE | u64{1} << VIRTIO_CONSOLE_F_EMERG_WRITE;
}

void Console::read_config(u32 offset, Bytes into) const {
  read_config_struct(ConsoleConfig{state_.columns, state_.rows, 1, 0}, offset, into);
}

void Console::write_config(u32 offset, ConstBytes from) {
  if (offset == emergency_offset && !from.empty() && backend_ != nullptr) backend_->transmit(from.first(1));
}

void Console::resize(u16 columns, u16 rows) {
  if (state_.columns == columns && state_.rows == rows) return;
  state_.columns = columns;
  state_.rows = rows;
  transport_->config_changed();
}

void Console::activate() {
  active_ = true;
  transmit_waiting();
  offer_room();
}

void Console::reset() {
  // The terminal's size belongs to the host: a reset driver meets the same one.
  active_ = false;
}

void Console::queue_notified(u16 index) {
  if (index == transmit_queue)
    transmit_waiting();
  else
    offer_room();
}

void Console::offer_room() {
  if (std::exchange(starved_, false) && backend_ != nullptr) backend_->receive_ready();
}

void Console::transmit_waiting() {
  consume(*transport_, transmit_queue, [&](Chain&& chain) {
    for (auto const& segment : chain.readable) {
      if (backend_ != nullptr) backend_->transmit(segment.host);
    }
    transport_->queue(transmit_queue).push(chain, 0);
  });
  transport_->interrupt(transmit_queue);
}

u32 Console::receive(ConstBytes bytes) {
  auto taken = u32{0};
  auto& queue = transport_->queue(receive_queue);
  while (active_ && taken < bytes.size()) {
    auto const chain = queue.pop();
    if (!chain) {
      transport_->fail(chain.error().what());
      break;
    }
    if (!*chain) {
      if (queue.enable_notifications()) continue;
      break;
    }
    auto const written = static_cast<u32>(scatter((*chain)->writable, 0, bytes.subspan(taken)));
    queue.push(**chain, written);
    taken += written;
  }
  starved_ = taken < bytes.size();
  if (active_) transport_->interrupt(receive_queue);
  return taken;
}

}  // namespace vireo::device::virtio
