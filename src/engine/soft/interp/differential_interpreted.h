#pragma once

#include <memory>

#include "engine/soft/interp/differential_program.h"
#include "x86/cpuid_model.h"

namespace vireo::engine::soft::differential {

/// Runs programs in the interpreter: 64-bit user mode under a kernel whose exception handlers halt.
class Interpreted {
 public:
  Interpreted();
  ~Interpreted();

  x86::CpuidModel const& model() const;
  void store(Program const& program);
  Outcome run(Program const& program, Scratch& scratch);

 private:
  struct Guest;
  std::unique_ptr<Guest> guest_;
};

}  // namespace vireo::engine::soft::differential
