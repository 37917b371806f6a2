#pragma once

#include <span>
#include <string>

#include "engine/soft/interp/differential_emulated.h"
#include "engine/soft/interp/differential_native.h"

namespace vireo::engine::soft::differential {

struct Case {
  Program program;
  Scratch native_memory{}, emulated_memory{};
  Outcome native{}, emulated{};
};

/// The host's processor and a tier, side by side. Native::prepare() has succeeded.
class Sides {
 public:
  explicit Sides(Tier const& tier) : tier_{tier}, emulated_{tier} {}
  x86::CpuidModel const& model() const { return emulated_.model(); }

  /// Runs all cases on both sides, from the same memory. Several may have the same program.
  void run(std::span<Case> cases, Scratch const& before);
  bool differs(Case const& c) const;
  /// The program, and what of registers and memory it has changed, a mark on what differs.
  std::string text(Case const& c, Scratch const& before) const;

 private:
  Tolerance tolerated(Case const& c) const;

  Tier tier_;
  Emulated emulated_;
};

}  // namespace vireo::engine::soft::differential
