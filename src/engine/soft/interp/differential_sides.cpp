#include "engine/soft/interp/differential_sides.h"

#include <fmt/format.h>

#include "engine/soft/interp/differential_flags.h"
#include "vocab/bytes.h"

namespace vireo::engine::soft::differential {

void Sides::run(std::span<Case> cases, Scratch const& before) {
  {
    auto native = Native{};
    for (auto& c : cases) native.store(c.program);
    for (auto& c : cases) {
      if (c.program.modifies_itself) native.store(c.program);
      c.native_memory = before;
      c.native = native.run(c.program, c.native_memory);
    }
  }
  for (auto& c : cases) emulated_.store(c.program);
  for (auto& c : cases) {
    c.emulated_memory = before;
    if (c.native.endless) continue;
    if (c.program.modifies_itself) emulated_.store(c.program);
    c.emulated = emulated_.run(c.program, c.emulated_memory);
  }
}

Tolerance Sides::tolerated(Case const& c) const {
  auto result = tolerance(c.program, c.native);
  if (tier_.stale_dead_flags && !c.native.completed)
    result.flags |= dead_flags(c.program, c.native.registers.rip);
  return result;
}

bool Sides::differs(Case const& c) const {
  if (c.native.endless) return false;
  return !same(c.native, c.emulated, tolerated(c)) || c.native_memory != c.emulated_memory;
}

std::string Sides::text(Case const& c, Scratch const& before) const {
  auto text = listing(c.program) + comparison(c.program, c.native, c.emulated, tolerated(c));
  for (auto at = 0uz; at < writable_bytes; at += 8) {
    auto const native = load_le<u64>(c.native_memory.data() + at);
    auto const emulated = load_le<u64>(c.emulated_memory.data() + at);
    if (native != emulated)
      text += fmt::format("! {:12x} {:016x} -> {:016x} {:016x}\n", scratch_base + at,
                          load_le<u64>(before.data() + at), native, emulated);
  }
  return text;
}

}  // namespace vireo::engine::soft::differential
