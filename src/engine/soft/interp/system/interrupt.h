#pragma once

#include <optional>

#include "engine/soft/interp/system/event.h"

namespace vireo::engine::soft {

/// One way through the IDT. Throws what goes wrong, with the state as it was; used by INT n, whose faults are
/// those of the instruction. A fault in a new task (task gate) is returned.
std::optional<Fault> deliver_once(Cpu& cpu, Event const& event);

/// INT n in virtual-8086 mode (SDM vol. 3, 21.3.3): false when it goes through the IDT. Redirects it to the
/// 8086 program's own handler when CR4.VME and the TSS say so; #GP(0) when the monitor must see it.
bool redirect_interrupt(Cpu& cpu, u8 vector);

/// How the second of two exceptions is handled (SDM vol. 3, table 6-5).
enum class Combination : u8 { serial, double_fault, shutdown };
Combination combine(Event const& first, x86::Vector second);

}  // namespace vireo::engine::soft
