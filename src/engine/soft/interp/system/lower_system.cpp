#include "engine/soft/interp/system/lower_system.h"

#include "engine/soft/interp/families.h"

namespace vireo::engine::soft {

Lowered lower_system(x86::Instruction const& insn) {
  using enum x86::Operation;
  constexpr auto ends = [](Handler handler) { return Lowered{.handler = handler, .ends_block = true}; };
  constexpr auto goes_on = [](Handler handler) { return Lowered{.handler = handler}; };
  switch (insn.operation) {
    case mov_to_control: return ends(system::mov_to_control);
    case mov_from_control: return goes_on(system::mov_from_control);
    case mov_to_debug: return ends(system::mov_to_debug);
    case mov_from_debug: return goes_on(system::mov_from_debug);
    case clts: return ends(system::clts);
    case lmsw: return ends(system::lmsw);
    case smsw: return goes_on(system::smsw);
    case xgetbv: return goes_on(system::xgetbv);
    case xsetbv: return ends(system::xsetbv);
    case cpuid: return goes_on(system::cpuid);
    case rdmsr: return goes_on(system::rdmsr);
    case wrmsr: return ends(system::wrmsr);
    case rdtsc: return goes_on(system::rdtsc);
    case rdtscp: return goes_on(system::rdtscp);
    case rdpmc: return goes_on(system::rdpmc);
    case rdpid: return goes_on(system::rdpid);
    case syscall: return ends(system::syscall);
    case sysret: return ends(system::sysret);
    case sysenter: return ends(system::sysenter);
    case sysexit: return ends(system::sysexit);
    case swapgs: return goes_on(system::swapgs);
    case rdfsbase: return goes_on(system::rdfsbase);
    case rdgsbase: return goes_on(system::rdgsbase);
    case wrfsbase: return goes_on(system::wrfsbase);
    case wrgsbase: return goes_on(system::wrgsbase);
    case cli: return goes_on(system::cli);
    case sti: return ends(system::sti);
    case clac: return ends(system::clac);
    case stac: return ends(system::stac);
    case in: return ends(system::in);
    case out: return ends(system::out);
    case ins: return ends(system::ins);
    case outs: return ends(system::outs);
    case hlt: return ends(system::hlt);
    case monitor: return goes_on(system::monitor);
    case mwait: return ends(system::mwait);
    case pause: return ends(system::pause);
    case invd:
    case wbinvd: return goes_on(system::privileged_nothing);
    case rdrand:
    case rdseed: return goes_on(system::random_number);
    case vmcall:
    case vmmcall: return ends(system::hypercall);
    case rsm: return ends(system::undefined);
    default: return {};
  }
}

}  // namespace vireo::engine::soft
