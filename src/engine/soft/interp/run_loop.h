#pragma once

#include <memory>

#include "engine/soft/interp/block_cache.h"

namespace vireo::engine::soft {

enum class RunExit : u8 {
  budget,     // max_blocks have run
  attention,  // Cpu::attention is not zero
  idle,       // state.activity is not running (HLT)
  shutdown,   // triple fault
  failed,     // a tier has found itself wrong; it has said how
};

/// Executes guest code of one vCPU out of a cache of decoded blocks.
class Interpreter {
 public:
  explicit Interpreter(BlockCache::Size size = BlockCache::Size::whole);
  ~Interpreter();

  /// Runs up to `max_blocks` blocks, delivering exceptions on the way (system/event.h). When `interrupt_shadow`
  /// is set on entry, one instruction runs before attention is looked at. On return the state stands at an
  /// instruction boundary.
  RunExit run(Cpu& cpu, u32 max_blocks);
  /// Executes exactly one instruction (or delivers its exception).
  RunExit step(Cpu& cpu);
  void forget_all();  // drops the decode cache

 private:
  struct Cache;
  Cache& cache();

  BlockCache::Size size_;
  std::unique_ptr<Cache> cache_;  // from the first instruction on
};

}  // namespace vireo::engine::soft
