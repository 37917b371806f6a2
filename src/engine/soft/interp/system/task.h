#pragma once

#include <optional>

#include "engine/soft/interp/system/descriptor.h"

namespace vireo::engine::soft {

enum class TaskSwitch : u8 { jump, call /* also task gates of the IDT */, iret };

/// Where the TSS of the running task keeps the stack of an inner privilege level (SDM vol. 3, 7.2.1).
struct InnerStack {
  u16 selector{};
  u64 pointer{};
};
/// Not for 64-bit TSSs. #TS when it lies outside the limit.
InnerStack inner_stack(Cpu& cpu, u8 cpl, u32 ext);
/// RSP0-2 (index 0-2) or IST1-7 (index 4-10) of a 64-bit TSS, by their place in quadwords behind RSP0.
u64 inner_stack64(Cpu& cpu, u8 index, u32 ext);

/// Switches to the task whose TSS `selector` names (SDM vol. 3, 7.3). Throws while the old task is intact; a
/// fault after the point of no return belongs to the new task and is returned. `error_code` is pushed on the
/// new stack.
std::optional<Fault> switch_task(Cpu& cpu, u16 selector, TaskSwitch why, u32 ext = 0,
                                 std::optional<u32> error_code = {});
/// Reads the task gate's TSS selector, after the caller has checked the gate's privilege: #NP when the gate is
/// not present.
std::optional<Fault> switch_task_by_gate(Cpu& cpu, Descriptor const& gate, u32 gate_error, TaskSwitch why,
                                         u32 ext = 0, std::optional<u32> error_code = {});

/// For handlers: delivers a fault that belongs to the new task.
void finish_task_switch(Cpu& cpu, std::optional<Fault> const& fault);

}  // namespace vireo::engine::soft
