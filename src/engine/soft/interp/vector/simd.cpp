#include <immintrin.h>

#include "engine/soft/interp/vector/enables.h"
#include "engine/soft/interp/vector/family.h"
#include "engine/soft/interp/vector/thunk.h"
#include "x86/table.h"

namespace vireo::engine::soft::vector {
namespace {

using x86::Instruction;
using x86::OperandKind;

constexpr u32 mxcsr_flags{0x3f};
constexpr u32 mxcsr_usual{0x1f80};  // the reset value: everything masked, to nearest, no flushing

/// Guest memory at a thunk's hand.
struct alignas(32) Scratch {
  std::byte bytes[32];
};

enum class Enable : u8 { sse, avx, mmx, mmx_and_sse };
enum class Place : u8 { registers, load, store };

template <Enable enable>
void require(Cpu const& cpu) {
  if constexpr (enable == Enable::sse) require_sse(cpu);
  if constexpr (enable == Enable::avx) require_avx(cpu);
  if constexpr (enable == Enable::mmx_and_sse) require_sse(cpu);
  if constexpr (enable == Enable::mmx || enable == Enable::mmx_and_sse) require_mmx(cpu);
}

/// MXCSR has control bits that C++ code must not run with, or an exception is unmasked.
[[gnu::noinline]] void run_unusual(Cpu& cpu, Thunk const& thunk, void const* memory) {
  auto& mxcsr = cpu.state.extended.mxcsr;
  mxcsr &= 0xffff;  // a forged snapshot must not fault in LDMXCSR
  catch_simd_exceptions();
  auto const raised = thunk.code(&cpu.state, memory);
  _mm_setcsr(mxcsr_usual);
  if (raised == 0) return;
  if ((cpu.state.cr4 & x86::cr4_osxmmexcpt) == 0) raise_ud();
  raise(x86::Vector::xm);
}

template <bool floats>
[[gnu::always_inline]] inline void run(Cpu& cpu, Thunk const& thunk, void const* memory) {
  if constexpr (floats) {
    if ((cpu.state.extended.mxcsr & ~mxcsr_flags) != mxcsr_usual) [[unlikely]] {
      return run_unusual(cpu, thunk, memory);
    }
  }
  thunk.code(&cpu.state, memory);
}

/// The operand is not simply in RAM: its bytes are fetched first.
template <bool floats>
[[gnu::noinline]] void run_on_copy(Cpu& cpu, Thunk const& thunk, x86::SegmentRegister segment, u64 offset,
                                   std::size_t size) {
  auto scratch = Scratch{};
  cpu.read_bytes(segment, offset, scratch.bytes, size);
  run<floats>(cpu, thunk, scratch.bytes);
}

/// MMX instructions leave the x87 pointers alone, whatever the host's FXSAVE says of them.
struct KeptPointers {
  explicit KeptPointers(ExtendedState& state)
      : state_{state}, fip_{state.fip}, fdp_{state.fdp}, fop_{state.fop} {}
  ~KeptPointers() {
    state_.fip = fip_;
    state_.fdp = fdp_;
    state_.fop = fop_;
  }
  ExtendedState& state_;
  u64 fip_, fdp_;
  u16 fop_;
};

template <Enable enable, Place place, std::size_t size, bool floats>
void execute(Cpu& cpu, Instruction const& insn, Thunk const& thunk) {
  require<enable>(cpu);
  if constexpr (place == Place::registers) {
    run<floats>(cpu, thunk, nullptr);
  } else {
    auto const segment = insn.memory.segment;
    auto const offset = cpu.effective_address(insn);
    if (thunk.alignment_mask != 0) require_alignment(cpu, segment, offset, thunk.alignment_mask);
    if constexpr (place == Place::load) {
      auto const* const memory = cpu.readable(segment, offset, size);
      if (memory == nullptr) [[unlikely]]
        return run_on_copy<floats>(cpu, thunk, segment, offset, size);
      run<floats>(cpu, thunk, memory);
    } else {
      auto scratch = Scratch{};
      if constexpr (floats) cpu.probe_write(segment, offset, size);  // before MXCSR's flags change
      run<floats>(cpu, thunk, scratch.bytes);
      cpu.write_bytes(segment, offset, scratch.bytes, size);
    }
  }
}

template <Enable enable, Place place, std::size_t size, bool floats>
void handle(Cpu& cpu, Instruction const& insn, void const* extra) {
  auto const& thunk = *static_cast<Thunk const*>(extra);
  if constexpr (enable == Enable::mmx || enable == Enable::mmx_and_sse) {
    auto const kept = KeptPointers{cpu.state.extended};
    execute<enable, place, size, true>(cpu, insn, thunk);  // FXRSTOR loads MXCSR whatever the instruction is
  } else {
    execute<enable, place, size, floats>(cpu, insn, thunk);
  }
}

template <Enable enable, Place place, bool floats>
Handler by_size(std::size_t size) {
  switch (size) {
    case 1: return handle<enable, place, 1, floats>;
    case 2: return handle<enable, place, 2, floats>;
    case 4: return handle<enable, place, 4, floats>;
    case 8: return handle<enable, place, 8, floats>;
    case 16: return handle<enable, place, 16, floats>;
    case 32: return handle<enable, place, 32, floats>;
    default: return nullptr;
  }
}

template <Enable enable, bool floats>
Handler by_place(Instruction const& insn) {
  for (auto const& operand : insn.operands) {
    if (operand.kind != OperandKind::memory) continue;
    return operand.written ? by_size<enable, Place::store, floats>(operand.size)
                           : by_size<enable, Place::load, floats>(operand.size);
  }
  return handle<enable, Place::registers, 0, floats>;
}

bool has_operand(Instruction const& insn, OperandKind kind) {
  for (auto const& operand : insn.operands) {
    if (operand.kind == kind) return true;
  }
  return false;
}

Handler choose(Instruction const& insn) {
  auto const floats = thunk_kind(insn) == ThunkKind::simd_float;
  if (insn.prefixes.vex) return floats ? by_place<Enable::avx, true>(insn) : by_place<Enable::avx, false>(insn);
  if (thunk_kind(insn) == ThunkKind::x87) {
    return has_operand(insn, OperandKind::vector) ? by_place<Enable::mmx_and_sse, true>(insn)
                                                  : by_place<Enable::mmx, true>(insn);
  }
  return floats ? by_place<Enable::sse, true>(insn) : by_place<Enable::sse, false>(insn);
}

/// Code memory is full: each execution writes its thunk anew.
void handle_transient(Cpu& cpu, Instruction const& insn, void const*) {
  auto const* const thunk = transient_thunk(insn);
  if (thunk == nullptr) raise_ud();
  choose(insn)(cpu, insn, thunk);
}

}  // namespace

Lowered lower_simd(Instruction const& insn) {
  auto const handler = choose(insn);
  if (handler == nullptr) return {};
  auto const* const thunk = find_thunk(insn);
  if (thunk == nullptr) return {.handler = handle_transient};
  return {.handler = handler, .extra = thunk};
}

}  // namespace vireo::engine::soft::vector
