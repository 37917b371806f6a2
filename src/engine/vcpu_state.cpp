#include "engine/vcpu_state.h"

namespace vireo::engine {

VcpuState reset_state(bool bootstrap) {
  constexpr auto data = u16{0x93};  // present, writable, accessed
  constexpr auto code = u16{0x9b};
  auto state = VcpuState{};
  state.segment.fill({.base = 0, .limit = 0xffff, .selector = 0, .attributes = data});
  state.cs() = {.base = 0xffff0000, .limit = 0xffff, .selector = 0xf000, .attributes = code};
  state.ldtr = {.base = 0, .limit = 0xffff, .selector = 0, .attributes = 0x82};
  state.tr = {.base = 0, .limit = 0xffff, .selector = 0, .attributes = 0x8b};
  state.gdtr.limit = state.idtr.limit = 0xffff;
  state.rip = 0xfff0;
  state.gpr[x86::rdx] = 0x00000600;  // family 6; firmware looks at no more
  state.cr0 = x86::cr0_cd | x86::cr0_nw | x86::cr0_et;
  state.activity = bootstrap ? Activity::running : Activity::wait_for_sipi;
  return state;
}

}  // namespace vireo::engine
