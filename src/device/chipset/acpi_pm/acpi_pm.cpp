#include "device/chipset/acpi_pm/acpi_pm.h"

#include "device/chipset/acpi_pm/spec.h"
#include "observe/log.h"

namespace vireo::device {

using namespace acpi_pm_spec;

namespace {

constexpr u64 ns_per_second{1'000'000'000};

u8 byte_of(u32 value, u32 index) { return static_cast<u8>(value >> (8 * index)); }
void set_byte(u16& value, u32 index, u8 byte, u16 writable) {
  auto const mask = static_cast<u16>(0xFF << (8 * index)) & writable;
  value = static_cast<u16>((value & ~mask) | (byte << (8 * index) & mask));
}

}  // namespace

AcpiPm::AcpiPm(bus::Executor& executor, bus::IrqLine& sci, bus::MachineControl& control)
    : executor_{executor},
      sci_{sci},
      control_{control},
      overflow_timer_{executor.make_timer([this] { update(); })} {
  state_.overflows_seen = timer() / timer_overflow;
}

std::span<bus::PortRange const> AcpiPm::ports() const {
  static constexpr auto ranges = std::array<bus::PortRange, 3>{{{bus::address_plan::pm_base, 12},
                                                                {bus::address_plan::gpe0, 4},
                                                                {bus::address_plan::pm_base + SmiEnable, 4}}};
  return ranges;
}

u64 AcpiPm::timer() const { return static_cast<u64>(u128{executor_.now_ns()} * timer_hz / ns_per_second); }

void AcpiPm::start() {
  running_ = true;
  update();
}

void AcpiPm::stop() {
  running_ = false;
  overflow_timer_->cancel();
}

void AcpiPm::reset() {
  state_ = {};
  state_.overflows_seen = timer() / timer_overflow;
  update();
}

Result<> AcpiPm::restore(state::Saved const& saved) {
  reset();
  auto state = state_;
  TRY(state::restore(saved, state));
  auto const sound = (state.status & ~status_bits) == 0 && (state.enable & ~enable_bits) == 0 &&
                     (state.control & ~(SciEnable | BusMasterReload | SleepTypeMask)) == 0 &&
                     (state.control & SciEnable) != 0;
  if (!sound) return fail(Errc::corrupt, "acpi_pm: a reserved bit is set");
  state_ = state;
  update();
  return {};
}

void AcpiPm::press_power_button() {
  state_.status |= PowerButton;
  update();
}

void AcpiPm::raise_event(u8 number) {
  state_.gpe_status = static_cast<u16>(state_.gpe_status | 1U << (number & 15));
  update();
}

void AcpiPm::update() {
  auto const overflows = timer() / timer_overflow;
  if (overflows != state_.overflows_seen) state_.status |= TimerStatus;
  state_.overflows_seen = overflows;
  sci_.set((state_.status & state_.enable) != 0 || (state_.gpe_status & state_.gpe_enable) != 0);
  if (!running_ || (state_.enable & TimerStatus) == 0) return overflow_timer_->cancel();
  auto const clocks = u128{(overflows + 1) * timer_overflow};
  overflow_timer_->arm(static_cast<u64>((clocks * ns_per_second + timer_hz - 1) / timer_hz));
}

u8 AcpiPm::read_byte(u16 offset) const {
  switch (offset & ~1U) {
    case Pm1Status: return byte_of(state_.status, offset & 1);
    case Pm1Enable: return byte_of(state_.enable, offset & 1);
    case Pm1Control: return byte_of(state_.control, offset & 1);
    case PmTimer:
    case PmTimer + 2: return byte_of(static_cast<u32>(timer()), offset & 3);
    case Gpe0Status: return byte_of(state_.gpe_status, offset & 1);
    case Gpe0Enable: return byte_of(state_.gpe_enable, offset & 1);
    case SmiEnable: return byte_of(smi_by_port, offset & 1);
    default: return 0;
  }
}

void AcpiPm::write_byte(u16 offset, u8 value) {
  auto const index = offset & 1U;
  switch (offset & ~1U) {
    case Pm1Status: state_.status = static_cast<u16>(state_.status & ~(value << (8 * index))); break;
    case Pm1Enable: set_byte(state_.enable, index, value, enable_bits); break;
    case Pm1Control:
      set_byte(state_.control, index, value, BusMasterReload | SleepTypeMask);
      if (index == 1 && (value << 8 & SleepEnable) != 0) write_sleep();
      break;
    case Gpe0Status: state_.gpe_status = static_cast<u16>(state_.gpe_status & ~(value << (8 * index))); break;
    case Gpe0Enable: set_byte(state_.gpe_enable, index, value, 0xFFFF); break;
    default: break;
  }
}

void AcpiPm::write_sleep() {
  auto const type = (state_.control & SleepTypeMask) >> sleep_type_shift;
  if (type == sleep_type_s5) return control_.request_power_off();
  VIREO_LOG_GUEST(observe::Level::warning, "acpi_pm", "sleep type {} is not offered", type);
}

u32 AcpiPm::read_port(u16 port, u8 width) {
  update();
  auto value = u32{0};
  for (auto i = u8{0}; i < width; ++i) {
    value |= u32{read_byte(static_cast<u16>(port - bus::address_plan::pm_base + i))} << (8 * i);
  }
  return value;
}

void AcpiPm::write_port(u16 port, u8 width, u32 value) {
  update();
  for (auto i = u8{0}; i < width; ++i) {
    write_byte(static_cast<u16>(port - bus::address_plan::pm_base + i), static_cast<u8>(value >> (8 * i)));
  }
  update();
}

}  // namespace vireo::device
