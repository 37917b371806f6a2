#pragma once

#include <memory>

#include "engine/soft/interp/differential_program.h"
#include "engine/soft/test_tiers.h"
#include "x86/cpuid_model.h"

namespace vireo::engine::soft::differential {

/// Runs programs in a tier of the engine: user mode under a kernel whose exception handlers halt.
class Emulated {
 public:
  explicit Emulated(Tier const& tier);
  ~Emulated();

  x86::CpuidModel const& model() const;
  void store(Program const& program);  // cheap when it lies there already
  Outcome run(Program const& program, Scratch& scratch);

 private:
  struct Guest;
  std::unique_ptr<Guest> guest_;
};

}  // namespace vireo::engine::soft::differential
