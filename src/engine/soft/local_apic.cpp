#include "engine/soft/local_apic.h"

#include <algorithm>
#include <bit>

namespace vireo::engine::soft {

using namespace apic;

namespace {

constexpr u32 bit(u32 vector) { return 1u << (vector & 31); }

int highest(std::array<u32, 8> const& bitmap) {
  for (auto word = 7; word >= 0; --word) {
    if (bitmap[static_cast<u8>(word)] != 0)
      return word * 32 + 31 - std::countl_zero(bitmap[static_cast<u8>(word)]);
  }
  return -1;
}

}  // namespace

ApicMessage decode_msi(u64 address, u32 data) {
  auto const destination = static_cast<u32>(address >> 12) & 0xff;
  auto const logical = (address & 4) != 0;
  auto mode = static_cast<DeliveryMode>((data >> 8) & 7);
  if (mode == DeliveryMode::fixed && (address & 8) != 0) mode = DeliveryMode::lowest_priority;
  return {.mode = mode,
          .vector = static_cast<u8>(data),
          .logical = logical,
          .level = (data & icr_level) != 0,
          .destination = destination,
          .broadcast = !logical && destination == 0xff};
}

LocalApic::LocalApic(VcpuId id, ApicSurroundings& surroundings, u32 timer_ratio)
    : id_{id}, surroundings_{surroundings}, timer_ratio_{timer_ratio} {
  reset();
}

void LocalApic::reset() {
  state_.base = default_base | base_enabled | (id_.value == 0 ? base_bootstrap : 0);
  signals_.store(0, std::memory_order_relaxed);
  init();
}

void LocalApic::init() {
  auto const base = state_.base;
  state_ = LocalApicState{};
  state_.base = base;
  state_.lvt.fill(lvt_masked);
  // What firmware leaves on the bootstrap processor: the 8259 reaches it as in a PC without APIC ("virtual
  // wire").
  if (id_.value == 0) state_.lvt[lvt_lint0] = static_cast<u32>(DeliveryMode::extint) << 8;
  for (auto& word : irr_) word.store(0, std::memory_order_relaxed);
  for (auto& word : tmr_) word.store(0, std::memory_order_relaxed);
  priority_.store(0, std::memory_order_relaxed);
  publish_address();
}

// ---- acceptance and priority (SDM vol. 3, 11.8) ----

// SOUND: each part is one atomic; a sender racing with a guest's change of mode or address sees one or the
// other, as on a bus.
void LocalApic::publish_address() {
  auto const ldr = x2apic() ? (id_.value >> 4) << 16 | 1u << (id_.value & 0xf) : state_.ldr;
  address_.store({ldr, state_.dfr}, std::memory_order_relaxed);
  mode_.store(!enabled() ? mode_off : x2apic() ? mode_x2apic : mode_xapic, std::memory_order_relaxed);
  software_enabled_.store((state_.svr & svr_enabled) != 0, std::memory_order_release);
}

bool LocalApic::matches(ApicMessage const& message) const {
  auto const mode = mode_.load(std::memory_order_relaxed);
  if (mode == mode_off) return false;
  if (message.shorthand == Shorthand::self) return message.source == id_.value;
  if (message.shorthand == Shorthand::all) return true;
  if (message.shorthand == Shorthand::others) return message.source != id_.value;
  if (message.broadcast) return true;
  if (!message.logical) return message.destination == id_.value;

  auto const address = address_.load(std::memory_order_relaxed);
  if (mode == mode_x2apic) {
    return message.destination >> 16 == address.ldr >> 16 && (message.destination & address.ldr & 0xffff) != 0;
  }
  auto const ldr = address.ldr >> 24;
  if (address.dfr == dfr_flat) return (message.destination & ldr & 0xff) != 0;
  return (message.destination >> 4 & 0xf) == ldr >> 4 && (message.destination & ldr & 0xf) != 0;
}

// SOUND: the trigger mode is written before the request bit; the owner reads the bit with acquire and then the
// mode.
void LocalApic::accept(ApicMessage const& message) {
  auto const word = static_cast<u8>(message.vector / 32);
  switch (message.mode) {
    case DeliveryMode::fixed:
    case DeliveryMode::lowest_priority:
      if (!software_enabled_.load(std::memory_order_acquire) || message.vector < 16) return;
      if (message.level) {
        tmr_[word].fetch_or(bit(message.vector), std::memory_order_relaxed);
      } else {
        tmr_[word].fetch_and(~bit(message.vector), std::memory_order_relaxed);
      }
      irr_[word].fetch_or(bit(message.vector), std::memory_order_seq_cst);
      surroundings_.notify();
      return;
    case DeliveryMode::nmi: return raise_signal(signal_nmi);
    case DeliveryMode::init:
      if (message.deassert) return;
      signals_.fetch_and(~u32{signal_startup}, std::memory_order_relaxed);
      return raise_signal(signal_init);
    case DeliveryMode::startup:
      startup_vector_.store(message.vector, std::memory_order_relaxed);
      return raise_signal(signal_startup);
    case DeliveryMode::smi:
    case DeliveryMode::reserved:
    case DeliveryMode::extint: return;
  }
}

void LocalApic::raise_signal(Signal signal) {
  signals_.fetch_or(signal, std::memory_order_seq_cst);
  surroundings_.notify();
}

void LocalApic::set_extint(bool high) {
  extint_.store(high, std::memory_order_seq_cst);
  if (high) surroundings_.notify();
}

bool LocalApic::extint_pending() const {
  if (!extint_.load(std::memory_order_acquire)) return false;
  if (!enabled()) return true;
  auto const lint0 = state_.lvt[lvt_lint0];
  return !(lint0 & lvt_masked) && ((lint0 >> 8) & 7) == static_cast<u32>(DeliveryMode::extint);
}

int LocalApic::highest_request() const {
  for (auto word = 7; word >= 0; --word) {
    auto const bits = irr_[static_cast<u8>(word)].load(std::memory_order_acquire);
    if (bits != 0) return word * 32 + 31 - std::countl_zero(bits);
  }
  return -1;
}

int LocalApic::highest_in_service() const { return highest(state_.isr); }

u8 LocalApic::processor_priority() const {
  auto const in_service = static_cast<u32>(std::max(highest_in_service(), 0));
  return static_cast<u8>(state_.tpr >> 4 >= in_service >> 4 ? state_.tpr : in_service & 0xf0);
}

void LocalApic::priority_changed() {
  priority_.store(processor_priority(), std::memory_order_relaxed);
  if (interrupt_pending()) surroundings_.notify();
}

bool LocalApic::interrupt_pending() const {
  if (extint_pending()) return true;
  if (!enabled()) return false;
  auto const request = highest_request();
  return request >= 0 && request >> 4 > priority_.load(std::memory_order_relaxed) >> 4;
}

int LocalApic::acknowledge() {
  auto const vector = highest_request();
  if (!enabled() || vector < 0 || vector >> 4 <= processor_priority() >> 4) return -1;
  auto const number = static_cast<u32>(vector);
  irr_[number / 32].fetch_and(~bit(number), std::memory_order_acq_rel);
  state_.isr[number / 32] |= bit(number);
  priority_.store(processor_priority(), std::memory_order_relaxed);
  return vector;
}

void LocalApic::end_of_interrupt() {
  auto const vector = highest_in_service();
  if (vector < 0) return;
  auto const number = static_cast<u32>(vector);
  state_.isr[number / 32] &= ~bit(number);
  if (tmr_[number / 32].load(std::memory_order_relaxed) & bit(number)) {
    surroundings_.end_of_level_interrupt(static_cast<u8>(number));
  }
  priority_changed();
}

void LocalApic::set_cr8(u64 value) {
  state_.tpr = static_cast<u32>(value & 0xf) << 4;
  priority_changed();
}

void LocalApic::report_error(u32 bits) {
  auto const fresh = (state_.esr_latched | bits) != state_.esr_latched;
  state_.esr_latched |= bits;
  if (fresh) deliver_local(state_.lvt[lvt_error]);
}

// What a source of this processor's own raises (11.5.1).
void LocalApic::deliver_local(u32 lvt) {
  if (lvt & lvt_masked) return;
  auto const mode = static_cast<DeliveryMode>((lvt >> 8) & 7);
  auto const vector = static_cast<u8>(lvt & lvt_vector);
  if (mode == DeliveryMode::fixed && vector < 16) {
    state_.esr_latched |= error_receive_vector;
    return;
  }
  accept({.mode = mode, .vector = vector});
}

// ---- sending (11.6) ----

void LocalApic::command(u32 low, u32 destination) {
  auto const mode = static_cast<DeliveryMode>((low >> 8) & 7);
  auto const vector = static_cast<u8>(low);
  auto const logical = (low & icr_logical) != 0;
  if (mode == DeliveryMode::fixed && vector < 16) return report_error(error_send_vector);
  if (mode == DeliveryMode::lowest_priority && x2apic()) return report_error(error_send_vector);
  surroundings_.send({.mode = mode,
                      .vector = vector,
                      .logical = logical,
                      .deassert = (low & icr_level) != 0 && !(low & icr_assert),
                      .shorthand = static_cast<Shorthand>((low >> 18) & 3),
                      .destination = destination,
                      .broadcast = !logical && destination == (x2apic() ? 0xffff'ffff : 0xff),
                      .source = id_.value});
}

void LocalApic::send_ipi(u32 low, u32 destination) {
  surroundings_.send({.mode = static_cast<DeliveryMode>((low >> 8) & 7),
                      .vector = static_cast<u8>(low),
                      .destination = destination,
                      .source = id_.value});
}

// ---- saving ----

state::Saved LocalApic::save() const {
  auto copy = state_;
  for (auto i = std::size_t{0}; i < 8; ++i) {
    copy.irr[i] = irr_[i].load(std::memory_order_relaxed);
    copy.tmr[i] = tmr_[i].load(std::memory_order_relaxed);
  }
  copy.signals = signals_.load(std::memory_order_relaxed);
  copy.startup_vector = startup_vector_.load(std::memory_order_relaxed);
  return state::save(copy);
}

Result<> LocalApic::restore(state::Saved const& saved) {
  auto fresh = LocalApicState{};
  TRY(state::restore(saved, fresh));
  if (!valid_base(fresh.base)) return fail(Errc::corrupt, "engine.local_apic: impossible APIC base");
  if ((fresh.tpr | fresh.svr >> 1) > 0xff) return fail(Errc::corrupt, "engine.local_apic: reserved bits set");
  for (auto i = u8{0}; i < lvt_count; ++i) fresh.lvt[i] &= lvt_writable[i];
  state_ = fresh;
  for (auto i = std::size_t{0}; i < 8; ++i) {
    irr_[i].store(fresh.irr[i], std::memory_order_relaxed);
    tmr_[i].store(fresh.tmr[i], std::memory_order_relaxed);
  }
  signals_.store(fresh.signals & 0xf, std::memory_order_relaxed);
  startup_vector_.store(fresh.startup_vector, std::memory_order_relaxed);
  priority_.store(processor_priority(), std::memory_order_relaxed);
  publish_address();
  surroundings_.notify();
  return {};
}

}  // namespace vireo::engine::soft
