#pragma once

#include "x86/registers.h"

namespace vireo::engine::soft {

/// A processor exception on its way to the guest. Thrown inside the interpreter only and caught by its run
/// loop, which puts RIP back to the faulting instruction. An instruction must not have changed state when it
/// throws.
struct Fault {
  x86::Vector vector{};
  bool has_error_code{};
  u32 error_code{};
  u64 address{};  // CR2 for #PF
};

[[noreturn, gnu::cold]] inline void raise(x86::Vector vector) { throw Fault{.vector = vector}; }
[[noreturn, gnu::cold]] inline void raise(x86::Vector vector, u32 error_code) {
  throw Fault{.vector = vector, .has_error_code = true, .error_code = error_code};
}
[[noreturn, gnu::cold]] inline void raise_gp(u32 error_code = 0) { raise(x86::Vector::gp, error_code); }
[[noreturn, gnu::cold]] inline void raise_ud() { raise(x86::Vector::ud); }

}  // namespace vireo::engine::soft
