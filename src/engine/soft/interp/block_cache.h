#pragma once

#include <memory>
#include <vector>

#include "engine/soft/interp/cpu.h"

namespace vireo::engine::soft {

struct Step;
/// Executes `step` and the rest of its block. `rip` is where the block begins.
using StepFunction = void (*)(Cpu&, Step const* step, u64 rip);

/// An instruction that runs through its family's handler.
struct GenericInstruction {
  Lowered lowered;
  x86::Instruction instruction;
};

/// One instruction, packed for its function. Registers are byte offsets into VcpuState::gpr, so that AH is one
/// too.
struct Step {
  StepFunction function{};
  union {
    u64 immediate{};
    GenericInstruction const* generic;
  };
  i32 displacement{};
  u8 destination{}, source{};
  u8 base{}, index{};
  u8 scale{};  // as a shift
  x86::SegmentRegister segment{};
  u16 end{};  // of the instruction, in bytes from the block's start
  u8 length{};
  u8 address_shift{};  // 0, 32, 48: the address is cut to 64, 32, 16 bits
  bool relative{};     // to where the block begins (RIP-relative)
  u8 spare{};
};
static_assert(sizeof(Step) == 32);

/// Straight-line code within one page, decoded. It keeps the bytes it was made from, and is valid while memory
/// still holds them: stores by this vCPU, other vCPUs and devices need not be tracked. Its steps follow it in
/// memory.
struct alignas(64) Block {
  static constexpr u32 max_steps{32};
  static constexpr u32 inline_bytes{20};
  enum class Kind : u8 {
    plain,
    special,   // may leave the vCPU in another mode, address space, activity or interrupt state
    uncached,  // not in the cache: nothing may link to or from it
  };

  u64 key{};
  Block* links[2]{};  // where it went before: candidates to be checked by their keys
  Block* chain{};     // in the hash table
  u16 byte_count{};
  u16 step_count{};    // without the step that ends a block which no branch ends
  u16 bytes_offset{};  // of the copied bytes, from the block's start
  Kind kind{};
  u8 first_bytes[inline_bytes]{};

  // SOUND: BlockCache and UncachedBlock place step_count + 1 steps behind the block.
  Step* steps() { return reinterpret_cast<Step*>(this + 1); }
  Step const* steps() const { return reinterpret_cast<Step const*>(this + 1); }
  // SOUND: bytes_offset is within the block's storage.
  u8* bytes() { return reinterpret_cast<u8*>(this) + bytes_offset; }
  u8 const* bytes() const { return reinterpret_cast<u8 const*>(this) + bytes_offset; }

  /// `host` holds the current bytes.
  bool unchanged(u8 const* host) const;
};
static_assert(sizeof(Block) == 64);

/// The one instruction that is not cached.
struct UncachedBlock {
  Block block;
  Step steps[2];
  GenericInstruction instruction;
};

inline bool Block::unchanged(u8 const* host) const {
  auto const* const copy = bytes();
  auto const differs = [&]<typename T>(T, u32 at) { return load_le<T>(host + at) ^ load_le<T>(copy + at); };
  auto const count = u32{byte_count};
  // SOUND: reads lie within byte_count of either side. Another vCPU may write meanwhile: then old or new bytes
  // are seen, as a processor that has already fetched may do (SDM vol. 3, 9.1.3).
  if (count >= 8) {
    auto difference = differs(u64{}, 0) | differs(u64{}, count - 8);
    for (auto at = 8u; at + 8 < count; at += 8) difference |= differs(u64{}, at);
    return difference == 0;
  }
  if (count >= 4) return (differs(u32{}, 0) | differs(u32{}, count - 4)) == 0;
  if (count >= 2) return (differs(u16{}, 0) | differs(u16{}, count - 2)) == 0;
  return host[0] == copy[0];
}

/// Blocks by host address and mode. Used by one vCPU's thread.
class BlockCache {
 public:
  enum class Size : u8 {
    whole,  // for all code that a guest runs
    small,  // for what another tier leaves
  };
  explicit BlockCache(Size size);
  ~BlockCache();

  /// Where a block is found in the common case.
  struct FrontEntry {
    u64 key{};
    Block* block{};
  };
  FrontEntry& front(u64 key) { return front_[(key ^ key >> 16) & front_mask_]; }

  /// The block that stands for none: links lead here at first.
  Block* none() { return &none_; }
  Block* find(u64 key);
  void insert(Block* block);
  void forget_all();

  // Storage that lives until forget_all().
  void* allocate(std::size_t bytes);
  bool full() const { return used_ > max_bytes_; }

 private:
  static constexpr std::size_t chunk_bytes{1 << 20};
  u32 bucket(u64 key) const { return static_cast<u32>((key ^ key >> 19) & (buckets_.size() - 1)); }

  u64 front_mask_;
  std::size_t max_bytes_;

  Block none_{};
  std::vector<FrontEntry> front_;
  std::vector<Block*> buckets_;
  std::vector<std::unique_ptr<std::byte[]>> chunks_;
  std::size_t chunk_used_{chunk_bytes};
  std::size_t used_{};
};

}  // namespace vireo::engine::soft
