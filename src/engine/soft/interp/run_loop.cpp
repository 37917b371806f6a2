#include "engine/soft/interp/run_loop.h"

#include <cstring>

#include "engine/soft/interp/lower.h"
#include "engine/soft/interp/run_loop_breakpoints.h"
#include "engine/soft/interp/system/event.h"
#include "engine/soft/interp/trace.h"
#include "x86/decoder.h"

namespace vireo::engine::soft {
namespace {

constexpr u32 key_mode_shift{48};
constexpr u64 single_key{u64{1} << 63};

u64 mode_key(Cpu const& cpu) {
  auto const mode =
      static_cast<u64>(cpu.code_size()) | u64{cpu.protected_mode()} << 2 | u64{cpu.stack_address_size()} << 3;
  return mode << key_mode_shift;
}

/// A step by step execution is needed: single-stepping, RF to be cleared after an instruction, breakpoints
/// armed.
bool needs_care(Cpu const& cpu) {
  return (cpu.state.rflags & (x86::flag_tf | x86::flag_rf)) || (cpu.state.dr7 & 0xff) ||
         cpu.state.interrupt_shadow;
}

constexpr u32 max_instruction_length{15};
constexpr u64 dr6_single_step{1u << 14};

x86::Instruction decode_again(Cpu const& cpu, Block const& block) {
  auto insn = x86::Instruction{};
  x86::decode({block.bytes(), block.byte_count}, cpu.code_size(), cpu.protected_mode(), insn);
  return insn;
}
std::vector<DataAccess> accesses_of(Cpu& cpu, Block const& block) {
  auto const insn = decode_again(cpu, block);
  auto const rip = cpu.state.rip;
  cpu.state.rip += insn.length;  // as while it executes
  auto accesses = data_accesses(cpu, insn);
  cpu.state.rip = rip;
  return accesses;
}
/// SDM vol. 3, 18.3.1.4: events delivered by an instruction clear TF, and no trap follows; SYSCALL masks it.
bool clears_single_step(Cpu const& cpu, Block const& block) {
  using enum x86::Operation;
  auto const operation = decode_again(cpu, block).operation;
  return operation == int_ || operation == int1 || operation == int3 || operation == into ||
         operation == syscall;
}
/// An instruction breakpoint is a fault; RF in the flags that are pushed lets the handler return to the
/// instruction.
void stop_at_execution(Cpu& cpu, u64 linear) {
  auto const hits = execution_breakpoints(cpu, linear);
  if (hits == 0) return;
  cpu.state.dr6 |= hits;
  cpu.state.rflags |= x86::flag_rf;
  throw Fault{.vector = x86::Vector::db};
}

u64 address_of(u8 const* host) {
  // SOUND: used as a key only.
  return reinterpret_cast<u64>(host);
}

}  // namespace

struct Interpreter::Cache {
  explicit Cache(BlockCache::Size size) : blocks{size} {}

  BlockCache blocks;
  UncachedBlock uncached{};
  // Instructions that cross a page, by the key of their first byte.
  struct Crossing {
    u64 key{};
    UncachedBlock what{};
  };
  static constexpr u32 crossings{128};
  std::vector<Crossing> crossing{std::vector<Crossing>(crossings)};
  // What is executing, for the way back from a Fault.
  Block* current{};
  u64 current_rip{};
  u8 const* found_at{};  // where look_up's block lies; null for the uncached instruction

  Block* find_crossing(Cpu& cpu, u64 linear, Cpu::CodeBytes code, u64 key);
  void keep_crossing(u64 key, u32 in_first_page);
  Block* look_up(Cpu& cpu, u64 linear, u64 mode, BlockShape shape);
  void execute(Cpu& cpu, Block& block);
  void account_for_early_end(Cpu& cpu, Block const& block, u64 rip);
  template <bool plain64>
  void run_blocks(Cpu& cpu, u32& blocks_left);
  void run_one(Cpu& cpu);
  RunExit run(Cpu& cpu, u32 max_blocks, bool only_one);
  bool deliver(Cpu& cpu, Fault const& fault);
};

/// A crossing instruction met before, if both its parts are still there. May throw the Fault of fetching the
/// second, which is due: the first part is the same.
Block* Interpreter::Cache::find_crossing(Cpu& cpu, u64 linear, Cpu::CodeBytes code, u64 key) {
  if (code.length >= max_instruction_length) return nullptr;
  auto& [kept_key, kept] = crossing[code.length * 8 % crossings + (key >> 12) % 8];
  auto const length = u32{kept.block.byte_count};
  if (kept_key != key || std::memcmp(code.host, kept.block.bytes(), code.length) != 0) return nullptr;
  auto const rest = cpu.code_at(cpu.code64() ? linear + code.length : static_cast<u32>(linear + code.length));
  if (rest.host == nullptr) return nullptr;
  if (std::memcmp(rest.host, kept.block.bytes() + code.length, length - code.length) != 0) return nullptr;
  return &kept.block;
}
void Interpreter::Cache::keep_crossing(u64 key, u32 in_first_page) {
  if (uncached.block.byte_count <= in_first_page) return;
  auto& [kept_key, kept] = crossing[in_first_page * 8 % crossings + (key >> 12) % 8];
  kept_key = key;
  kept = uncached;
  kept.steps[0].generic = &kept.instruction;
}

/// The slow way to a block. May throw the Fault of fetching.
[[gnu::noinline]] Block* Interpreter::Cache::look_up(Cpu& cpu, u64 linear, u64 mode, BlockShape shape) {
  current = nullptr;
  found_at = nullptr;
  if (cpu.code64()) {
    if (static_cast<u64>(static_cast<i64>(linear << 16) >> 16) != linear) raise_gp();
  } else if (cpu.state.rip > cpu.state.cs().limit) {
    raise_gp();
  }
  auto const code = cpu.code_at(linear);
  auto const key = address_of(code.host) | mode;
  if (code.host != nullptr) {
    if (auto* const block = find_crossing(cpu, linear, code, key); block != nullptr) return block;
    auto* block = blocks.find(key);
    if (block == nullptr || !block->unchanged(code.host)) {
      if (blocks.full()) blocks.forget_all();
      block = make_block(cpu, blocks, code.host, code.length, key, shape);
      if (block != nullptr) blocks.insert(block);
    }
    if (block != nullptr) {
      blocks.front(key) = {key, block};
      found_at = code.host;
      return block;
    }
  }
  make_uncached(cpu, linear, uncached);
  if (code.host != nullptr) keep_crossing(key, code.length);
  return &uncached.block;
}

[[gnu::always_inline]] inline void Interpreter::Cache::execute(Cpu& cpu, Block& block) {
  auto const rip = cpu.state.rip;
  current = &block;
  current_rip = rip;
  block.steps()->function(cpu, block.steps(), rip);
  cpu.instructions += block.step_count;
  if (cpu.code_written) [[unlikely]]
    account_for_early_end(cpu, block, rip);
}
/// The block was left early, unless its last instruction wrote: a branch then stands at no step's end.
[[gnu::noinline]] void Interpreter::Cache::account_for_early_end(Cpu& cpu, Block const& block, u64 rip) {
  cpu.instructions -= block.step_count - (step_at(block, cpu.state.rip - rip) + 1);
  cpu.code_written = false;
}

/// Until attention, the budget's end, or a block that may have changed what is remembered here. `plain64` is
/// 64-bit mode without a trace.
template <bool plain64>
void Interpreter::Cache::run_blocks(Cpu& cpu, u32& blocks_left) {
  auto const mode = mode_key(cpu);
  auto const code64 = plain64 || cpu.code64();
  auto const rights = cpu.cpl() == 3 ? Rights::user : Rights::supervisor;
  auto const base = code64 ? 0 : cpu.state.cs().base;
  auto const limit = code64 ? 0 : u64{cpu.state.cs().limit};
  auto const traces = !plain64 && (trace() & trace_blocks) != 0;
  // The page of the last block. It stays mapped here: only a special block can flush the TLB, and that ends
  // this loop.
  constexpr auto no_page = u64{1};
  auto page = no_page;
  auto addend = u64{};
  auto* previous = blocks.none();
  for (; blocks_left > 0; --blocks_left) {
    if (cpu.attention.load(std::memory_order_relaxed) != 0) [[unlikely]]
      return;
    auto const rip = cpu.state.rip;
    auto const linear = code64 ? rip : static_cast<u32>(base + rip);
    if ((linear & ~(page_size - 1)) != page) [[unlikely]] {
      auto const& entry = cpu.mmu.entry(rights, linear);
      auto const mapped = in_page(entry.execute, linear, 1);
      page = mapped ? linear & ~(page_size - 1) : no_page;
      addend = entry.page - (linear & ~(page_size - 1));
      // SOUND: a page of guest memory, used only when it is mapped.
      cpu.code_page_host = mapped ? reinterpret_cast<std::byte*>(page + addend) : nullptr;
    }
    auto const key = (linear + addend) | mode;
    auto* block = previous->links[0];
    if (block->key != key) {
      block = previous->links[1];
      if (block->key != key) [[unlikely]] {
        auto const& front = blocks.front(key);
        block = front.key == key ? front.block : blocks.none();
        previous->links[previous->links[0] != blocks.none()] = block;
      }
    }
    // SOUND: the tag said that this page lies in guest memory.
    auto const* const host = reinterpret_cast<u8 const*>(linear + addend);
    auto const found = page != no_page && block->key == key && block->unchanged(host);
    if (!found) [[unlikely]] {
      block = look_up(cpu, linear, mode, BlockShape::many);
      // SOUND: compared with addresses of stores only.
      cpu.code_page_host = reinterpret_cast<std::byte*>(address_of(found_at) & ~(page_size - 1));
      page = no_page;
    }
    if constexpr (!plain64) {
      if (!code64 && rip + block->byte_count > limit) [[unlikely]] {
        --blocks_left;
        return run_one(cpu);
      }
      if (traces) [[unlikely]]
        trace_block(cpu, rip, block->bytes(), *block);
    }
    execute(cpu, *block);
    if (block->kind != Block::Kind::plain) [[unlikely]] {
      if (block->kind != Block::Kind::uncached) {
        --blocks_left;
        return;
      }
      block = blocks.none();
    }
    previous = block;
  }
}

/// Exactly one instruction, with everything that TF, RF, DR7 and the interrupt shadow ask for.
void Interpreter::Cache::run_one(Cpu& cpu) {
  auto const linear = cpu.code_address();
  auto const armed = (cpu.state.dr7 & 0xff) != 0;
  current = nullptr;
  if (armed && !(cpu.state.rflags & x86::flag_rf)) stop_at_execution(cpu, linear);
  auto* const block = look_up(cpu, linear, mode_key(cpu) | single_key, BlockShape::single);
  auto const rip = cpu.state.rip;
  current = block;
  current_rip = rip;
  if (!cpu.code64() && rip + block->byte_count - 1 > cpu.state.cs().limit) {
    current = nullptr;
    raise_gp();
  }
  if (trace() & trace_blocks) trace_block(cpu, rip, block->bytes(), *block);
  auto const accesses = armed && watches_data(cpu) ? accesses_of(cpu, *block) : std::vector<DataAccess>{};
  auto const stepping = (cpu.state.rflags & x86::flag_tf) && !clears_single_step(cpu, *block);
  cpu.code_page_host = nullptr;  // one instruction cannot change itself on the way
  cpu.state.interrupt_shadow = false;
  cpu.state.rflags &= ~u64{x86::flag_rf};
  execute(cpu, *block);
  if (!cpu.code64()) cpu.state.rip = static_cast<u32>(cpu.state.rip);
  auto const pending = (stepping ? dr6_single_step : 0) | data_breakpoints(cpu, accesses);
  if (pending == 0 || cpu.state.interrupt_shadow) return;
  cpu.state.dr6 |= pending;
  current = nullptr;  // a trap: RIP stays behind the instruction
  throw Fault{.vector = x86::Vector::db};
}

/// False: shutdown.
bool Interpreter::Cache::deliver(Cpu& cpu, Fault const& fault) {
  if (current != nullptr) {
    auto const index = step_at(*current, cpu.state.rip - current_rip);
    cpu.instructions += index;
    cpu.state.rip -= current->steps()[index].length;
  }
  current = nullptr;
  cpu.code_written = false;
  if (trace() & trace_exceptions) trace_exception(cpu, fault);
  return deliver_event(cpu, exception_event(fault)) == Delivery::delivered;
}

RunExit Interpreter::Cache::run(Cpu& cpu, u32 max_blocks, bool only_one) {
  auto blocks_left = max_blocks;
  cpu.code_written = false;
  while (blocks_left > 0) {
    if (cpu.state.activity != Activity::running) return RunExit::idle;
    auto const care = only_one || needs_care(cpu);
    if (!cpu.state.interrupt_shadow && !only_one && cpu.attention.load(std::memory_order_acquire) != 0) {
      return RunExit::attention;
    }
    try {
      current = nullptr;
      if (care) {
        --blocks_left;
        run_one(cpu);
      } else if (cpu.code64() && !(trace() & trace_blocks)) {
        run_blocks<true>(cpu, blocks_left);
      } else {
        run_blocks<false>(cpu, blocks_left);
      }
    } catch (Fault const& fault) {
      if (blocks_left > 0 && !care) --blocks_left;
      if (!deliver(cpu, fault)) return RunExit::shutdown;
    }
  }
  return cpu.state.activity != Activity::running ? RunExit::idle : RunExit::budget;
}

Interpreter::Interpreter(BlockCache::Size size) : size_{size} {}
Interpreter::~Interpreter() = default;
Interpreter::Cache& Interpreter::cache() {
  if (!cache_) cache_ = std::make_unique<Cache>(size_);
  return *cache_;
}
RunExit Interpreter::run(Cpu& cpu, u32 max_blocks) { return cache().run(cpu, max_blocks, false); }
RunExit Interpreter::step(Cpu& cpu) { return cache().run(cpu, 1, true); }
void Interpreter::forget_all() {
  if (cache_) cache_->blocks.forget_all();
}

}  // namespace vireo::engine::soft
