#pragma once

#include "engine/soft/interp/block_cache.h"

namespace vireo::engine::soft {

/// Finds who executes `insn`: a family's handler, #UD when the CPU model lacks the feature, or #UD with a log
/// line when nobody does. May turn TZCNT and LZCNT into BSF and BSR, as processors without them do.
Lowered lower(Cpu const& cpu, x86::Instruction& insn);

/// How the instruction that a block is made from was met.
enum class BlockShape : u8 { many, single };

/// Decodes a block at `code` (`length` bytes to the page's end). Null when its first instruction goes on in the
/// next page.
Block* make_block(Cpu const& cpu, BlockCache& cache, u8 const* code, u32 length, u64 key, BlockShape shape);

/// Decodes one instruction that crosses a page or lies in device memory, afresh each time. May throw Fault.
void make_uncached(Cpu& cpu, u64 linear, UncachedBlock& into);

/// A quicker function than the generic one, for the most frequent instructions (fast_*.cpp).
bool lower_fast(x86::Instruction const& insn, Step& step);

/// The index of the step that was executing when RIP stood at `offset` bytes from the block's start.
u32 step_at(Block const& block, u64 offset);

}  // namespace vireo::engine::soft
