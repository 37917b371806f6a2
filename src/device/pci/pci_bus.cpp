#include "device/pci/pci_bus.h"

#include <algorithm>

#include "bus/pci_spec.h"

namespace vireo::device {

namespace plan = bus::address_plan;

/// Ties a range of ports or addresses to a function's BAR for as long as it lives.
class PciBus::Window final : public bus::PioTarget, public bus::MmioTarget {
 public:
  Window(bus::AddressMap& map, bus::PciFunction& function, u8 bar)
      : map_{map},
        function_{function},
        bar_{bar},
        base_{function.config().bar_address(bar)},
        size_{function.config().bar(bar).size},
        is_io_{function.config().bar(bar).kind == bus::BarKind::io} {
    if (is_io_) {
      ports_ = {static_cast<u16>(base_), static_cast<u16>(size_)};
      map_.map_pio(ports_, *this);
    } else {
      range_ = {Gpa{base_}, size_};
      map_.map_mmio(range_, *this);
    }
  }
  ~Window() override {
    if (is_io_) {
      map_.unmap_pio(ports_);
    } else {
      map_.unmap_mmio(range_, *this);
    }
  }
  Window(Window const&) = delete;
  Window& operator=(Window const&) = delete;

  std::span<bus::PortRange const> ports() const override { return {&ports_, is_io_ ? 1U : 0U}; }
  std::span<GpaRange const> ranges() const override { return {&range_, is_io_ ? 0U : 1U}; }
  u32 read_port(u16 port, u8 width) override {
    return static_cast<u32>(function_.read_bar(bar_, port - base_, width));
  }
  void write_port(u16 port, u8 width, u32 value) override {
    function_.write_bar(bar_, port - base_, width, value);
  }
  u64 read_mmio(Gpa at, u8 width) override { return function_.read_bar(bar_, at.value - base_, width); }
  void write_mmio(Gpa at, u8 width, u64 value) override {
    function_.write_bar(bar_, at.value - base_, width, value);
  }

  Bytes memory() const { return is_io_ ? Bytes{} : function_.bar_memory(bar_); }

 private:
  bus::AddressMap& map_;
  bus::PciFunction& function_;
  u8 bar_;
  u64 base_;
  u64 size_;
  bool is_io_;
  bus::PortRange ports_{};
  GpaRange range_{};
};

PciBus::PciBus(bus::AddressMap& map, bus::MsiSink& msi, std::function<bus::IrqLine&(u8)> attach_line,
               bus::MemoryWindows* memory)
    : map_{map}, msi_{msi}, attach_line_{std::move(attach_line)}, memory_{memory} {}
PciBus::~PciBus() = default;

bool PciBus::plug(bus::PciAddress at, bus::PciFunction& function) {
  if (at.device > 31 || at.function > 7 || find(at) != nullptr) return false;
  slots_.push_back({at, &function});
  function.config().set_msi_sink(&msi_);
  auto const pin = static_cast<u8>(function.config().read(bus::pci_spec::InterruptPin, 1));
  if (pin >= 1 && pin <= 4) function.connect_intx(&attach_line_(plan::gsi_of_pci_pin(at.device, pin)));
  return true;
}

bus::PciFunction* PciBus::find(bus::PciAddress at) const {
  auto const found =
      std::find_if(slots_.begin(), slots_.end(), [&](Slot const& slot) { return slot.at == at; });
  return found == slots_.end() ? nullptr : found->function;
}

u32 PciBus::read_config(bus::PciAddress at, u16 offset, u8 width) const {
  auto* const function = find(at);
  if (function == nullptr) return 0xFFFF'FFFFU >> (32 - 8 * width);
  function->config_reading(offset, width);
  return function->config().read(offset, width);
}

void PciBus::write_config(bus::PciAddress at, u16 offset, u8 width, u32 value) {
  auto* const function = find(at);
  if (function == nullptr) return;
  auto const moved = function->config().write(offset, width, value);
  function->config_written(offset, width);
  if (moved) remap();
}

void PciBus::remap() {
  windows_.clear();
  for (auto const& slot : slots_) {
    for (auto bar = u8{0}; bar < 6; ++bar) map_bar(*slot.function, bar);
  }
  show_memory();
}

void PciBus::show_memory() {
  if (memory_ == nullptr) return;
  auto shown = std::vector<memory::GuestMemory::Window>{};
  for (auto const& window : windows_) {
    auto const bytes = window->memory();
    if (!bytes.empty()) shown.push_back({window->ranges()[0], bytes.data(), memory::RegionKind::ram});
  }
  if (shown == shown_) return;
  shown_ = shown;
  memory_->set(bus::WindowLayer::pci, std::move(shown));
}

/// A BAR is decoded only inside the windows that the host bridge forwards, so that it never hides another
/// device.
void PciBus::map_bar(bus::PciFunction& function, u8 index) {
  auto const& config = function.config();
  auto const spec = config.bar(index);
  auto const base = config.bar_address(index);
  auto decoded = false;
  switch (spec.kind) {
    case bus::BarKind::none: return;
    case bus::BarKind::io:
      decoded = config.io_enabled() && base >= plan::pci_io_first && base + spec.size - 1 <= plan::pci_io_last;
      break;
    case bus::BarKind::memory32:
    case bus::BarKind::memory64:
    case bus::BarKind::memory64_prefetchable:
      decoded = config.memory_enabled() && (plan::pci_window32.contains(Gpa{base}, spec.size) ||
                                            plan::pci_window64.contains(Gpa{base}, spec.size));
      break;
  }
  if (decoded) windows_.push_back(std::make_unique<Window>(map_, function, index));
}

}  // namespace vireo::device
