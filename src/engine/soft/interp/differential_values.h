#pragma once

#include "engine/soft/interp/differential_program.h"
#include "x86/sampler.h"

namespace vireo::engine::soft::differential {

/// What programs begin with: random and edge values in registers and memory.
class Values {
 public:
  Values(u64 seed, x86::CodeSize code_size);
  Scratch scratch();

 protected:
  u64 value();
  u64 lane();
  void fill_vector(u8* bytes);
  void fill_x87(ExtendedState& state);
  Registers registers();

  bool code64() const { return code_size_ == x86::CodeSize::bits64; }
  bool code16() const { return code_size_ == x86::CodeSize::bits16; }

  x86::Sampler random_;
  x86::CodeSize code_size_;
  u64 area_;  // where programs address the scratch memory
  u64 fs_base_{}, gs_base_{};
};

}  // namespace vireo::engine::soft::differential
