#pragma once

#include "engine/soft/interp/cpu.h"

namespace vireo::engine::soft {

/// Something that goes through the IDT (SDM vol. 3, chapter 6).
struct Event {
  enum class Kind : u8 {
    external,
    nmi,
    exception,
    software /* INT n */,
    software_exception /* INT3, INTO */,
    int1
  };
  u8 vector{};
  Kind kind{};
  bool has_error_code{};
  u32 error_code{};
  u64 address{};  // CR2, for #PF
};
enum class Delivery : u8 { delivered, shutdown };

inline Event exception_event(Fault const& fault) {
  return {.vector = static_cast<u8>(fault.vector),
          .kind = Event::Kind::exception,
          .has_error_code = fault.has_error_code,
          .error_code = fault.error_code,
          .address = fault.address};
}

/// Delivers `event` with RIP as the return address. A fault on the way becomes a nested event, a double fault
/// or shutdown (SDM vol. 3, 6.15). Wakes a halted vCPU. Never throws.
Delivery deliver_event(Cpu& cpu, Event const& event);

}  // namespace vireo::engine::soft
