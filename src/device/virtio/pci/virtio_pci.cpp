#include "device/virtio/pci/virtio_pci.h"

#include <algorithm>

#include "bus/nested_state.h"
#include "device/virtio/pci/spec.h"
#include "observe/log.h"

namespace vireo::device::virtio {
namespace {

using namespace spec;

constexpr u8 register_bar{0};
constexpr u8 msix_bar{2};
constexpr u64 register_bar_bytes{0x4000};
constexpr u64 msix_bar_bytes{0x1000};
constexpr u32 msix_pba_offset{0x800};
constexpr u64 isr_offset{0x1000};
constexpr u64 device_offset{0x2000};
constexpr u64 notify_offset{0x3000};
constexpr u64 section_bytes{0x1000};
constexpr u32 notify_multiplier{4};

constexpr u32 saved_config_base{1000};
constexpr u32 saved_function_base{2000};

bus::PciIdentity identity_of(VirtioDevice::Description const& description) {
  auto const id = static_cast<u16>(description.id);
  return {.vendor = VIRTIO_PCI_VENDOR,
          .device = static_cast<u16>(VIRTIO_PCI_DEVICE_BASE + id),
          .subsystem_vendor = VIRTIO_PCI_VENDOR,
          .subsystem = static_cast<u16>(VIRTIO_PCI_DEVICE_BASE + id),
          .revision = VIRTIO_PCI_REVISION,
          .class_code = description.class_code};
}

/// The body of a struct virtio_pci_cap (4.1.4) after its id and next pointer.
std::vector<u8> capability(CapabilityType type, u8 bar, u32 offset, u32 length, std::optional<u32> extra = {}) {
  auto body = std::vector<u8>(extra ? 18 : 14);
  body[0] = static_cast<u8>(body.size() + 2);
  body[1] = type;
  body[2] = bar;
  store_le<u32>(&body[cap_offset - 2], offset);
  store_le<u32>(&body[cap_length - 2], length);
  if (extra) store_le<u32>(&body[cap_data - 2], *extra);
  return body;
}

bool overlap(u32 a, u32 a_length, u32 b, u32 b_length) { return a < b + b_length && b < a + a_length; }

u64 with_half(u64 old, bool upper, u64 value) {
  auto const half = value & 0xffff'ffff;
  return upper ? (old & 0xffff'ffff) | half << 32 : (old & ~u64{0xffff'ffff}) | half;
}

}  // namespace

VirtioPci::VirtioPci(bus::Executor& executor, memory::GuestMemory& memory,
                     std::unique_ptr<VirtioDevice> function)
    : executor_{executor},
      memory_{memory},
      function_{std::move(function)},
      config_{identity_of(function_->description()), 1} {
  for (auto const size : function_->description().queue_sizes) queues_.emplace_back(memory, size);
  config_.add_bar(register_bar, {bus::BarKind::memory64, register_bar_bytes});
  config_.add_bar(msix_bar, {bus::BarKind::memory64, msix_bar_bytes});
  config_.add_msix(vectors(), msix_bar, 0, msix_pba_offset);
  auto const add = [&](std::vector<u8> const& body) {
    return config_.add_capability(PCI_CAP_ID_VNDR, body, {});
  };
  auto const notify_bytes = static_cast<u32>(queues_.size()) * notify_multiplier;
  add(capability(VIRTIO_PCI_CAP_COMMON_CFG, register_bar, 0, common_config_size));
  add(capability(VIRTIO_PCI_CAP_ISR_CFG, register_bar, isr_offset, 4));
  add(capability(VIRTIO_PCI_CAP_DEVICE_CFG, register_bar, device_offset, section_bytes));
  add(capability(VIRTIO_PCI_CAP_NOTIFY_CFG, register_bar, notify_offset, notify_bytes, notify_multiplier));
  auto writable = std::vector<u8>(18);
  writable[cap_bar - 2] = 0xff;
  std::fill(writable.begin() + cap_offset - 2, writable.end(), u8{0xff});
  window_capability_ = config_.add_capability(
      PCI_CAP_ID_VNDR, capability(VIRTIO_PCI_CAP_PCI_CFG, register_bar, 0, 0, u32{0}), writable);
  function_->attach(*this);
}

VirtioPci::~VirtioPci() { go_quiet(); }

// ---- life cycle ----

void VirtioPci::start() {
  started_ = true;
  update_intx();
  if ((state_.status & DRIVER_OK) != 0) go_live();
}

void VirtioPci::stop() {
  go_quiet();
  started_ = false;
}

void VirtioPci::reset() {
  config_.reset();
  reset_driver_view();
}

state::Saved VirtioPci::save() const {
  auto state = state_;
  for (auto const& queue : queues_) state.queues.push_back(queue.state());
  auto saved = state::save(state);
  bus::nest(saved, saved_config_base, config_.save());
  bus::nest(saved, saved_function_base, function_->save());
  return saved;
}

Result<> VirtioPci::restore(state::Saved const& saved) {
  reset();
  auto outer = saved;
  auto const function = bus::unnest(outer, saved_function_base);
  auto const config = bus::unnest(outer, saved_config_base);
  auto const apply = [&]() -> Result<> {
    auto state = State{};
    TRY(state::restore(outer, state));
    TRY(check(state));
    TRY(config_.restore(config));
    TRY(function_->restore(function));
    for (auto i = std::size_t{0}; i < queues_.size(); ++i) queues_[i].state() = state.queues[i];
    state.queues.clear();
    state_ = std::move(state);
    return {};
  };
  auto result = apply();
  if (!result) reset();
  return result;
}

Result<> VirtioPci::check(State const& state) const {
  auto const bad = [](std::string_view what) {
    return vireo::fail(Errc::corrupt, fmt::format("virtio-pci: {}", what));
  };
  if (state.queues.size() != queues_.size()) return bad("another number of queues");
  auto const packed = ((state.driver_features >> VIRTIO_F_RING_PACKED) & 1) != 0;
  for (auto i = std::size_t{0}; i < queues_.size(); ++i) {
    if (!plausible(state.queues[i], queues_[i].maximum_size(), packed)) return bad("a queue that cannot be");
  }
  auto const settled = (state.status & FEATURES_OK) != 0;
  if (settled && (state.driver_features & ~offered_features()) != 0)
    return bad("a feature that is not offered");
  if ((state.status & DRIVER_OK) != 0 && !settled) return bad("a driver without features");
  return {};
}

/// 2.4: what a driver's reset, or the machine's, makes of the device.
void VirtioPci::reset_driver_view() {
  go_quiet();
  state_ = State{};
  for (auto& queue : queues_) queue.reset();
  function_->reset();
  update_intx();
}

void VirtioPci::go_live() {
  if (live_ || !started_) return;
  for (auto& queue : queues_) {
    if (queue.state().enabled != 0 && !map(queue)) break;
  }
  live_ = true;
  function_->activate();
}

void VirtioPci::go_quiet() {
  if (!live_) return;
  function_->quiesce();
  live_ = false;
  for (auto& queue : queues_) queue.unmap();
}

bool VirtioPci::map(Virtqueue& queue) {
  auto const options = RingOptions{.packed = negotiated(VIRTIO_F_RING_PACKED),
                                   .indirect = negotiated(VIRTIO_F_INDIRECT_DESC),
                                   .event_index = negotiated(VIRTIO_F_EVENT_IDX)};
  auto const mapped = queue.map(options);
  if (!mapped) fail(mapped.error().what());
  return mapped.has_value();
}

// ---- what the function asks ----

void VirtioPci::interrupt(u16 index) {
  auto& queue = queues_.at(index);
  if (queue.should_notify()) signal(queue.state().vector, ISR_QUEUE);
}

void VirtioPci::config_changed() {
  ++state_.config_generation;
  if ((state_.status & DRIVER_OK) != 0) signal(state_.config_vector, ISR_CONFIG);
}

void VirtioPci::fail(std::string_view reason) {
  if ((state_.status & DEVICE_NEEDS_RESET) != 0) return;
  VIREO_LOG_GUEST(observe::Level::warning, function_->description().name, "the driver broke the rules: {}",
                  reason);
  state_.status |= DEVICE_NEEDS_RESET;
  for (auto& queue : queues_) queue.state().broken = 1;
  if ((state_.status & DRIVER_OK) != 0) signal(state_.config_vector, ISR_CONFIG);
}

void VirtioPci::notify_later(u16 index) {
  post([this, index] {
    if (live_) function_->queue_notified(index);
  });
}

void VirtioPci::post(std::function<void()> work) {
  executor_.post([alive = std::weak_ptr{alive_}, work = std::move(work)] {
    if (!alive.expired()) work();
  });
}

void VirtioPci::signal(u16 vector, u8 isr) {
  if (config_.msix_enabled()) {
    if (vector != VIRTIO_MSI_NO_VECTOR) config_.msix_signal(vector);
    return;
  }
  state_.isr |= isr;
  update_intx();
}

void VirtioPci::update_intx() {
  if (intx_ != nullptr) intx_->set(state_.isr != 0 && !config_.intx_disabled() && !config_.msix_enabled());
}

// ---- configuration space ----

void VirtioPci::config_written(u16 offset, u8 width) {
  update_intx();
  if (!overlap(offset, width, window_capability_ + u32{cap_data}, 4)) return;
  auto const bar = static_cast<u8>(config_.read(window_capability_ + cap_bar, 1));
  auto const at = config_.read(window_capability_ + cap_offset, 4);
  auto const length = config_.read(window_capability_ + cap_length, 4);
  if (length != 1 && length != 2 && length != 4) return;
  write_bar(bar, at, static_cast<u8>(length), config_.read(window_capability_ + cap_data, 4));
}

void VirtioPci::config_reading(u16 offset, u8 width) {
  if (!overlap(offset, width, window_capability_ + u32{cap_data}, 4)) return;
  auto const bar = static_cast<u8>(config_.read(window_capability_ + cap_bar, 1));
  auto const at = config_.read(window_capability_ + cap_offset, 4);
  auto const length = config_.read(window_capability_ + cap_length, 4);
  if (length != 1 && length != 2 && length != 4) return;
  auto const value = read_bar(bar, at, static_cast<u8>(length));
  config_.write(window_capability_ + cap_data, 4, static_cast<u32>(value));
}

// ---- registers ----

u64 VirtioPci::read_bar(u8 bar, u64 offset, u8 width) {
  if (bar == msix_bar) return config_.msix_read(offset, width);
  if (bar != register_bar || width > 8) return 0;
  auto const in_section = offset % section_bytes;
  switch (offset - in_section) {
    case 0: return read_common(in_section, width);
    case isr_offset: return in_section == 0 ? read_isr() : 0;
    case device_offset: {
      auto value = u64{0};
      function_->read_config(static_cast<u32>(in_section),
                             std::as_writable_bytes(std::span{&value, 1}).first(width));
      return value;
    }
    default: return 0;
  }
}

void VirtioPci::write_bar(u8 bar, u64 offset, u8 width, u64 value) {
  if (bar == msix_bar) return config_.msix_write(offset, width, value);
  if (bar != register_bar || width > 8) return;
  auto const in_section = offset % section_bytes;
  switch (offset - in_section) {
    case 0: return write_common(in_section, width, value);
    case device_offset:
      return function_->write_config(static_cast<u32>(in_section),
                                     std::as_bytes(std::span{&value, 1}).first(width));
    case notify_offset:
      if (in_section / notify_multiplier < queues_.size() && live_) {
        function_->queue_notified(static_cast<u16>(in_section / notify_multiplier));
      }
      return;
    default: return;
  }
}

u8 VirtioPci::read_isr() {
  auto const isr = std::exchange(state_.isr, u8{0});
  update_intx();
  return isr;
}

u64 VirtioPci::offered_features() const {
  auto const own = u64{1} << VIRTIO_F_INDIRECT_DESC | u64{1} << VIRTIO_F_EVENT_IDX |
                   u64{1} << VIRTIO_F_VERSION_1 | u64{1} << VIRTIO_F_RING_PACKED |
                   u64{1} << VIRTIO_F_RING_RESET;
  return own | function_->features();
}

Virtqueue* VirtioPci::selected() {
  return state_.queue_select < queues_.size() ? &queues_[state_.queue_select] : nullptr;
}

u64 VirtioPci::read_common(u64 offset, u8 width) {
  if (offset + width > common_config_size) return 0;
  auto image = std::array<u8, common_config_size>{};
  auto const feature_half = [](u64 features, u32 select) -> u32 {
    return select < 2 ? static_cast<u32>(features >> (32 * select)) : 0;
  };
  store_le<u32>(&image[device_feature_select], state_.device_feature_select);
  store_le<u32>(&image[device_feature], feature_half(offered_features(), state_.device_feature_select));
  store_le<u32>(&image[driver_feature_select], state_.driver_feature_select);
  store_le<u32>(&image[driver_feature], feature_half(state_.driver_features, state_.driver_feature_select));
  store_le<u16>(&image[config_msix_vector], state_.config_vector);
  store_le<u16>(&image[num_queues], static_cast<u16>(queues_.size()));
  image[device_status] = state_.status;
  image[config_generation] = state_.config_generation;
  store_le<u16>(&image[queue_select], state_.queue_select);
  if (auto const* const queue = selected(); queue != nullptr) {
    auto const& state = queue->state();
    store_le<u16>(&image[queue_size], state.size);
    store_le<u16>(&image[queue_msix_vector], state.vector);
    store_le<u16>(&image[queue_enable], state.enabled);
    store_le<u16>(&image[queue_notify_off], state_.queue_select);
    store_le<u64>(&image[queue_desc], state.descriptors);
    store_le<u64>(&image[queue_driver], state.driver);
    store_le<u64>(&image[queue_device], state.device);
  }
  auto value = u64{0};
  std::memcpy(&value, &image[offset], width);
  return value;
}

void VirtioPci::write_common(u64 offset, u8 width, u64 value) {
  if (width == 8) {  // 4.1.3.1 wants two halves; some drivers write 64-bit fields whole
    if (offset < queue_desc || offset > queue_device || offset % 8 != 0) return;
    write_common(offset, 4, value);
    return write_common(offset + 4, 4, value >> 32);
  }
  auto const valid_vector = [&](u64 vector) {
    return vector < vectors() ? static_cast<u16>(vector) : VIRTIO_MSI_NO_VECTOR;
  };
  switch (offset) {
    case device_feature_select: state_.device_feature_select = static_cast<u32>(value); return;
    case driver_feature_select: state_.driver_feature_select = static_cast<u32>(value); return;
    case driver_feature:
      if ((state_.status & FEATURES_OK) != 0 || state_.driver_feature_select > 1) return;
      state_.driver_features = with_half(state_.driver_features, state_.driver_feature_select == 1, value);
      return;
    case config_msix_vector: state_.config_vector = valid_vector(value & 0xffff); return;
    case device_status: return write_status(static_cast<u8>(value));
    case queue_select: state_.queue_select = static_cast<u16>(value); return;
    case queue_msix_vector:
      if (auto* const queue = selected(); queue != nullptr)
        queue->state().vector = valid_vector(value & 0xffff);
      return;
    default: return write_queue_register(offset, value);
  }
}

void VirtioPci::write_queue_register(u64 offset, u64 value) {
  auto* const queue = selected();
  if (queue == nullptr) return;
  auto& state = queue->state();
  if (offset == queue_reset) {
    if ((value & 0xffff) == 1 && negotiated(VIRTIO_F_RING_RESET)) reset_queue(*queue);
    return;
  }
  if (state.enabled != 0) return;  // 4.1.4.3.2: the driver must not, so it has no effect
  switch (offset) {
    case queue_size:
      if ((value & 0xffff) != 0 && (value & 0xffff) <= queue->maximum_size())
        state.size = static_cast<u16>(value);
      return;
    case queue_desc:
    case queue_desc + 4: state.descriptors = with_half(state.descriptors, offset % 8 != 0, value); return;
    case queue_driver:
    case queue_driver + 4: state.driver = with_half(state.driver, offset % 8 != 0, value); return;
    case queue_device:
    case queue_device + 4: state.device = with_half(state.device, offset % 8 != 0, value); return;
    case queue_enable:
      if ((value & 0xffff) != 1) return;
      state.enabled = 1;
      if (live_ && map(*queue)) function_->queue_notified(state_.queue_select);
      return;
    default: return;
  }
}

/// 2.6.1: the others go on, so everything in flight is brought home first.
void VirtioPci::reset_queue(Virtqueue& queue) {
  auto const vector = queue.state().vector;
  auto const was_live = live_;
  if (was_live) function_->quiesce();
  queue.reset();
  queue.state().vector = vector;
  queue.state().broken = (state_.status & DEVICE_NEEDS_RESET) != 0;
  if (was_live) function_->activate();
}

void VirtioPci::write_status(u8 value) {
  if (value == 0) return reset_driver_view();
  auto wanted = static_cast<u8>(value & ~DEVICE_NEEDS_RESET & ~state_.status);  // bits are only ever added
  auto const acceptable = (state_.driver_features & ~offered_features()) == 0 && negotiated(VIRTIO_F_VERSION_1);
  if ((wanted & FEATURES_OK) != 0 && !acceptable) wanted &= static_cast<u8>(~FEATURES_OK);
  if ((wanted & DRIVER_OK) != 0 && ((state_.status | wanted) & FEATURES_OK) == 0) {
    wanted &= static_cast<u8>(~DRIVER_OK);
  }
  state_.status |= wanted;
  if ((wanted & DRIVER_OK) != 0) go_live();
}

}  // namespace vireo::device::virtio
