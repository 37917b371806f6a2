#include "device/chipset/rtc/rtc.h"

#include <algorithm>
#include <limits>
#include <utility>

namespace vireo::device {

using namespace rtc_spec;

namespace {

constexpr i64 second_ns{1'000'000'000};
constexpr i64 day_seconds{86'400};
// Offsets beyond this are forged: about year 2200 either way, so that no arithmetic overflows.
constexpr i64 offset_limit_ns{i64{1} << 62};

constexpr i64 floor_div(i64 value, i64 by) { return value / by - (value % by < 0 ? 1 : 0); }

constexpr bool is_time(u8 index) {
  return index == Seconds || index == Minutes || index == Hours || (index >= DayOfWeek && index <= Year) ||
         index == Century;
}

}  // namespace

Rtc::Rtc(RtcConfig config, bus::Executor& executor, bus::IrqLine& irq)
    : config_{std::move(config)},
      executor_{executor},
      irq_{irq},
      timer_{executor.make_timer([this] { update(); })} {
  reset();
}

std::span<bus::PortRange const> Rtc::ports() const {
  static constexpr auto range = bus::PortRange{Index, 2};
  return {&range, 1};
}

void Rtc::start() {
  running_ = true;
  update();
}

void Rtc::stop() {
  running_ = false;
  timer_->cancel();
}

void Rtc::reset() {
  state_ = {};
  cell(RegisterA) = register_a_reset;
  cell(RegisterB) = Hours24;
  fill_memory_sizes();
  state_.offset_ns = static_cast<i64>(config_.wall_clock_ns() - executor_.now_ns());
  mark_looked_at();
  update();
}

Result<> Rtc::restore(state::Saved const& saved) {
  reset();
  auto state = state_;
  TRY(state::restore(saved, state));
  auto const in_range = [](i64 value) { return value > -offset_limit_ns && value < offset_limit_ns; };
  auto const sound = state.index < 128 && in_range(state.offset_ns) && in_range(state.periodic_tick) &&
                     state.updated_second < offset_limit_ns / second_ns &&
                     state.updated_second > -offset_limit_ns / second_ns &&
                     (state.cmos[RegisterC] & ~(UpdateEnded | Alarm | Periodic)) == 0;
  if (!sound) return fail(Errc::corrupt, "rtc: a field is out of range");
  state_ = state;
  update();
  return {};
}

void Rtc::fill_memory_sizes() {
  auto const put = [&](u8 index, u64 value, u8 bytes) {
    for (auto i = u8{0}; i < bytes; ++i) cell(static_cast<u8>(index + i)) = static_cast<u8>(value >> (8 * i));
  };
  auto const above = [&](u64 start, u64 unit, u64 limit) {
    return config_.low_memory > start ? std::min((config_.low_memory - start) / unit, limit) : 0;
  };
  put(EquipmentByte, 0x06, 1);  // display adapter with its own ROM, a pointing device port, a coprocessor
  put(BaseMemoryLow, 640, 2);
  put(ExtendedMemoryLow, above(MiB, KiB, 0xFFFF), 2);
  put(ExtendedMemory2Low, above(MiB, KiB, 0xFFFF), 2);
  put(MemoryAbove16MLow, above(16 * MiB, 64 * KiB, 0xFFFF), 2);
  put(MemoryAbove4GLow, std::min(config_.high_memory / (64 * KiB), u64{0xFF'FFFF}), 3);
  auto sum = u32{0};
  for (auto i = u8{0x10}; i < ChecksumHigh; ++i) sum += cell(i);
  put(ChecksumHigh, sum >> 8, 1);
  put(ChecksumLow, sum, 1);
}

i64 Rtc::now_ns() const { return static_cast<i64>(executor_.now_ns()) + state_.offset_ns; }

bool Rtc::ticking() const { return !control(Set) && (cell(RegisterA) & DividerReset) != DividerReset; }

i64 Rtc::periodic_ns() const {
  auto rate = static_cast<u32>(cell(RegisterA) & RateMask);
  if (rate == 0 || (cell(RegisterA) & DividerReset) == DividerReset) return 0;
  if (rate <= 2) rate += 7;  // 256 and 128 Hz with this time base
  return (second_ns << (rate - 1)) / static_cast<i64>(time_base_hz);
}

u8 Rtc::encode(u8 value) const {
  return control(Binary) ? value : static_cast<u8>(value / 10 << 4 | value % 10);
}
u8 Rtc::decode(u8 raw) const { return control(Binary) ? raw : static_cast<u8>((raw >> 4) * 10 + (raw & 0xF)); }

u8 Rtc::encode_hour(u8 hour) const {
  if (control(Hours24)) return encode(hour);
  auto const twelve = static_cast<u8>(hour % 12 == 0 ? 12 : hour % 12);
  return static_cast<u8>(encode(twelve) | (hour >= 12 ? hours_pm : 0));
}

u8 Rtc::decode_hour(u8 raw) const {
  if (control(Hours24)) return decode(raw);
  auto const twelve = decode(raw & 0x7F) % 12;
  return static_cast<u8>(twelve + ((raw & hours_pm) != 0 ? 12 : 0));
}

void Rtc::store_time(Calendar const& time) {
  cell(Seconds) = encode(time.second);
  cell(Minutes) = encode(time.minute);
  cell(Hours) = encode_hour(time.hour);
  cell(DayOfWeek) = encode(time.day_of_week);
  cell(DayOfMonth) = encode(time.day);
  cell(Month) = encode(time.month);
  cell(Year) = encode(static_cast<u8>(((time.year % 100) + 100) % 100));
  cell(Century) = static_cast<u8>(time.year / 100 / 10 % 10 << 4 | time.year / 100 % 10);
}

/// Takes the time that the registers hold as the present. Nonsense from the guest is clamped.
void Rtc::load_time() {
  auto const century = (cell(Century) >> 4) * 10 + (cell(Century) & 0xF);
  auto const fraction = now_ns() - floor_div(now_ns(), second_ns) * second_ns;
  auto const time = Calendar{
      .year = std::clamp(i64{century} * 100 + decode(cell(Year)), i64{1900}, i64{2100}),
      .month = std::clamp<u8>(decode(cell(Month)), 1, 12),
      .day = std::clamp<u8>(decode(cell(DayOfMonth)), 1, 31),
      .hour = std::min<u8>(decode_hour(cell(Hours)), 23),
      .minute = std::min<u8>(decode(cell(Minutes)), 59),
      .second = std::min<u8>(decode(cell(Seconds)), 59),
  };
  state_.offset_ns = seconds_of(time) * second_ns + fraction - static_cast<i64>(executor_.now_ns());
  mark_looked_at();
}

bool Rtc::alarm_matches(i64 second) const {
  auto const in_day = second - floor_div(second, day_seconds) * day_seconds;
  auto const matches = [](u8 raw, u8 wanted) { return (raw & alarm_any) == alarm_any || raw == wanted; };
  return matches(cell(SecondsAlarm), encode(static_cast<u8>(in_day % 60))) &&
         matches(cell(MinutesAlarm), encode(static_cast<u8>(in_day / 60 % 60))) &&
         matches(cell(HoursAlarm), encode_hour(static_cast<u8>(in_day / 3600)));
}

void Rtc::mark_looked_at() {
  state_.updated_second = floor_div(now_ns(), second_ns);
  auto const period = periodic_ns();
  state_.periodic_tick = period != 0 ? floor_div(now_ns(), period) : 0;
}

void Rtc::look() {
  auto const second = floor_div(now_ns(), second_ns);
  if (ticking() && second > state_.updated_second) {
    cell(RegisterC) |= UpdateEnded;
    for (auto at = std::max(state_.updated_second + 1, second - day_seconds); at <= second; ++at) {
      if ((cell(RegisterC) & Alarm) == 0 && alarm_matches(at)) cell(RegisterC) |= Alarm;
    }
  }
  auto const period = periodic_ns();
  if (period != 0 && floor_div(now_ns(), period) > state_.periodic_tick) cell(RegisterC) |= Periodic;
  mark_looked_at();
}

void Rtc::update() {
  look();
  auto const enabled = cell(RegisterB) & (UpdateInterrupt | AlarmInterrupt | PeriodicInterrupt);
  irq_.set((cell(RegisterC) & enabled) != 0);
  auto next = std::numeric_limits<i64>::max();
  if (ticking() && (enabled & (UpdateInterrupt | AlarmInterrupt)) != 0)
    next = (state_.updated_second + 1) * second_ns;
  if (periodic_ns() != 0 && (enabled & PeriodicInterrupt) != 0) {
    next = std::min(next, (state_.periodic_tick + 1) * periodic_ns());
  }
  if (!running_ || next == std::numeric_limits<i64>::max()) return timer_->cancel();
  timer_->arm(static_cast<u64>(next - state_.offset_ns));
}

u8 Rtc::read_register(u8 index) {
  if (is_time(index)) {
    if (!control(Set)) store_time(calendar_of(floor_div(now_ns(), second_ns)));
    return cell(index);
  }
  switch (index) {
    case RegisterA: {
      auto const to_update = second_ns - (now_ns() - floor_div(now_ns(), second_ns) * second_ns);
      auto const updating = ticking() && to_update <= static_cast<i64>(update_lead_ns);
      return static_cast<u8>((cell(RegisterA) & ~UpdateInProgress) | (updating ? UpdateInProgress : 0));
    }
    case RegisterC: {
      look();
      auto const flags = std::exchange(cell(RegisterC), u8{0});
      auto const enabled = cell(RegisterB) & (UpdateInterrupt | AlarmInterrupt | PeriodicInterrupt);
      update();
      return static_cast<u8>(flags | ((flags & enabled) != 0 ? InterruptRequest : 0));
    }
    case RegisterD: return ValidRam;
    default: return cell(index);
  }
}

void Rtc::write_time(u8 index, u8 value) {
  if (!control(Set)) store_time(calendar_of(floor_div(now_ns(), second_ns)));
  cell(index) = value;
  if (!control(Set)) load_time();
}

void Rtc::write_register(u8 index, u8 value) {
  look();
  if (is_time(index)) {
    write_time(index, value);
  } else if (index == RegisterA) {
    cell(RegisterA) = value & (RateMask | DividerMask);
    mark_looked_at();
  } else if (index == RegisterB) {
    auto const was_set = control(Set);
    if (!was_set && (value & Set) != 0) {
      store_time(calendar_of(floor_div(now_ns(), second_ns)));
      value = static_cast<u8>(value & ~UpdateInterrupt);  // SET clears UIE
    }
    cell(RegisterB) = value;
    if (was_set && (value & Set) == 0) load_time();
  } else if (index != RegisterC && index != RegisterD) {
    cell(index) = value;
  }
  update();
}

u32 Rtc::read_port(u16 port, u8 width) {
  auto value = u32{0};
  for (auto i = u8{0}; i < width; ++i) {
    auto const byte = port + i == Data ? read_register(state_.index) : u8{0xFF};
    value |= u32{byte} << (8 * i);
  }
  return value;
}

void Rtc::write_port(u16 port, u8 width, u32 value) {
  for (auto i = u8{0}; i < width; ++i) {
    auto const byte = static_cast<u8>(value >> (8 * i));
    if (port + i == Index) state_.index = byte & 0x7F;  // bit 7 masks NMI, which nothing here raises
    if (port + i == Data) write_register(state_.index, byte);
  }
}

}  // namespace vireo::device
