#include "engine/soft/interp/system/msr.h"
#include "engine/soft/paravirt.h"

namespace vireo::engine::soft::system {

namespace {

bool read(Cpu& cpu, u32 index, u64& value) { return paravirt::read_msr(cpu, index, value); }
bool write(Cpu& cpu, u32 index, u64 value) { return paravirt::write_msr(cpu, index, value); }

constexpr MsrRow rows[]{
    {paravirt::msr_wall_clock_old, paravirt::msr_system_time_old, read, write},
    {paravirt::msr_wall_clock, paravirt::msr_poll_control, read, write},
};

}  // namespace

std::span<MsrRow const> paravirt_msrs() { return rows; }

}  // namespace vireo::engine::soft::system
