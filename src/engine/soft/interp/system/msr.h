#pragma once

#include <span>

#include "engine/soft/interp/cpu.h"

/// Model-specific registers (SDM vol. 4). One table, made of the groups below; a group is a file.
namespace vireo::engine::soft::system {

/// How a range of MSRs is read and written. False, or null: #GP(0).
struct MsrRow {
  u32 first{}, last{};
  bool (*read)(Cpu& cpu, u32 index, u64& value){};
  bool (*write)(Cpu& cpu, u32 index, u64 value){};
};

std::span<MsrRow const> processor_msrs();    // msr_processor.cpp: EFER, system calls, bases, TSC, local APIC
std::span<MsrRow const> memory_type_msrs();  // msr_memory_type.cpp: PAT, MTRRs
std::span<MsrRow const>
identity_msrs();  // msr_identity.cpp: what the processor is and can do, mostly constants
std::span<MsrRow const> paravirt_msrs();  // msr_paravirt.cpp: KVM's

/// Both log an unknown MSR once in a while and answer false for #GP(0).
bool read_msr(Cpu& cpu, u32 index, u64& value);
bool write_msr(Cpu& cpu, u32 index, u64 value);

}  // namespace vireo::engine::soft::system
