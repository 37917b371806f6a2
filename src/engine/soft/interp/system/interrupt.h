#pragma once

#include <optional>

#include "engine/soft/interp/system/event.h"

namespace vireo::engine::soft {

/// One way through the IDT. Throws what goes wrong, with the state as it was; used by INT n, whose faults are those of
/// the instruction. A fault in a new task (task gate) is returned.
std::optional<Fault> deliver_once(Cpu& cpu, Event const& event);

/// How the second of two exceptions is handled (SDM vol. 3, table 6-5).
enum class Combination : u8 { serial, double_fault, shutdown };
Combination combine(Event const& first, x86::Vector second);

}  // namespace vireo::engine::soft
