#pragma once

#include "engine/soft/interp/differential_program.h"
#include "vocab/result.h"

namespace vireo::engine::soft::differential {

/// Runs programs on the processor under our feet. One instance at a time: it owns fixed addresses and, while it
/// lives, the handlers of SIGSEGV, SIGBUS, SIGILL, SIGFPE, SIGTRAP and SIGVTALRM, and the timer behind this.
class Native {
 public:
  static Result<> prepare();    // maps the fixed addresses; again: clears the code
  static Result<> prepare16();  // makes the segments of 16-bit code
  Native();
  ~Native();
  Native(Native const&) = delete;
  Native& operator=(Native const&) = delete;

  void store(Program const& program);
  /// `scratch` is what memory holds before, and after.
  Outcome run(Program const& program, Scratch& scratch);
};

}  // namespace vireo::engine::soft::differential
