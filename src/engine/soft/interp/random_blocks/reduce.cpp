#include "engine/soft/interp/random_blocks/reduce.h"

#include <algorithm>
#include <span>

#include "x86/decoder.h"

namespace vireo::engine::soft::differential {
namespace {

constexpr u8 nop{0x90};

struct Range {
  std::size_t begin{}, end{};
};

std::vector<Range> instructions(Program const& program) {
  auto result = std::vector<Range>{};
  auto const code = std::span{program.code};
  for (auto at = 0uz; at < code.size();) {
    auto insn = x86::Instruction{};
    x86::decode(code.subspan(at), program.code_size, true, insn);
    auto const end = std::min(at + std::max<std::size_t>(insn.length, 1), code.size());
    if (end - at > 1 || code[at] != nop) result.push_back({at, end});
    at = end;
  }
  return result;
}

}  // namespace

Program reduced(Program program, std::function<bool(Program const&)> const& fails) {
  for (auto chunk = 16uz; chunk > 0; chunk /= 2) {
    auto const all = instructions(program);
    for (auto last = all.size(); last > 0; last -= std::min(last, chunk)) {
      auto const first = last - std::min(last, chunk);
      auto shorter = program;
      std::fill(shorter.code.begin() + static_cast<std::ptrdiff_t>(all[first].begin),
                shorter.code.begin() + static_cast<std::ptrdiff_t>(all[last - 1].end), nop);
      if (fails(shorter)) program = shorter;
    }
  }
  return program;
}

}  // namespace vireo::engine::soft::differential
