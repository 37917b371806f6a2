#include "engine/soft/interp/vector/enables.h"

namespace vireo::engine::soft::vector {

void refuse_sse(Cpu const& cpu) {
  if ((cpu.state.cr0 & x86::cr0_em) != 0 || (cpu.state.cr4 & x86::cr4_osfxsr) == 0) raise_ud();
  raise(x86::Vector::nm);
}

void refuse_avx(Cpu const& cpu) {
  if ((cpu.state.cr4 & x86::cr4_osxsave) == 0 || (cpu.state.xcr0 & xcr0_avx) != xcr0_avx) raise_ud();
  raise(x86::Vector::nm);
}

void refuse_mmx(Cpu const& cpu) {
  if ((cpu.state.cr0 & x86::cr0_em) != 0) raise_ud();
  raise(x86::Vector::nm);
}

}  // namespace vireo::engine::soft::vector
