#pragma once

#include <functional>
#include <map>
#include <memory>
#include <tuple>
#include <unordered_map>

#include "engine/counter.h"
#include "engine/soft/interp/run_loop.h"
#include "engine/soft/mmu/window.h"
#include "engine/soft/translate/code_cache.h"
#include "engine/soft/translate/generator.h"
#include "engine/soft/translate/jump_tables.h"
#include "engine/soft/translate/perf_map.h"
#include "engine/soft/translate/region.h"
#include "engine/soft/translate/trampolines.h"
#include "engine/soft/translate/verifier.h"

namespace vireo::engine::soft::translate {

struct Counters {
  u64 translations{}, guest_bytes{}, links{}, slot_fills{}, jump_fills{}, interpreted{}, slow_accesses{},
      traps{}, invalidations{}, flushes{}, polls{}, refills{}, crossings{}, stale{}, jumps_found{},
      slots_found{};
  std::array<u64, Windows::count> windows_cleared{};
  u64 longest_drop_ns{};  // of all translations at once
  std::array<u64, exit_kinds> exits{};
  std::array<u64, x86::operation_count> interpreted_by_operation{};
};

/// Tier T1: runs guest code of one vCPU as host code, and through an interpreter what it does not translate.
/// Used by the vCPU's thread only, which must be the same for as long as the guest runs.
class Translator final : private Slots, private Features, private Lowering, public MappingObserver {
 public:
  /// Errors: no_space when the host refuses executable memory.
  static Result<std::unique_ptr<Translator>> create(Cpu& cpu, u32 cache_bytes);
  ~Translator() override;

  /// As Interpreter::run; `max_exits` counts returns from translated code.
  RunExit run(Cpu& cpu, u32 max_exits);
  void forget_all();
  /// The page at `host` has changed: its translations are void.
  void drop_code(std::byte* host);

  Counters const& counters() const { return counters_; }
  void append_counters(std::vector<Counter>& to) const;

  // ---- tools; before the guest runs ----
  /// Runs everything twice and compares, from here on. Blocks are not linked.
  void verify() { verifier_ = std::make_unique<Verifier>(cpu_); }
  std::string const& difference() const { return verifier_->report(); }
  /// Sees, and may spoil, the host code of each new block: for tests of the verifier.
  void on_new_block(std::function<void(Block const&, std::span<u8>)> seen) {
    new_block_seen_ = std::move(seen);
  }

  // For signal handlers of this thread.
  bool contains(u8 const* host_code) const { return cache_->contains(host_code); }
  u8 const* trap_exit() const { return trampolines_.exit(ExitKind::trap); }

 private:
  struct Stack;
  Translator(Cpu& cpu, std::unique_ptr<CodeCache> cache);
  u32 slot_for(PageCode const& page, i64 target, bool flags_saved) override;
  bool offered(x86::Instruction const& insn) const override;
  GenericInstruction lowered(x86::Instruction const& insn) override;
  void mappings_changed(u8 window) noexcept override;
  static u64 refill(Context* context, u64 linear, u32 site);
  static u64 set_access(Context* context, u64 unused, u32 site);
  static u64 find_jump(Context* context, u64 linear);
  static u64 find_slot(Context* context, u64 exit);
  PageCode* known_page(u64 linear, Rights rights, u16 mode) const;
  u64 known_jump(u64 linear, Rights rights, u16 mode);
  static u64 repeat_string(Context* context, SavedRegisters& registers, u32 site);
  static u64 system_call(Context* context, SavedRegisters& registers, u32 site);
  static u64 system_return(Context* context, SavedRegisters& registers, u32 site);
  static u64 interrupt_return(Context* context, SavedRegisters& registers, u32 site);
  u64 go_to(u64 linear, Rights rights);
  u64 come_out(u64 linear, Rights rights);
  std::byte* reach(u64 linear, u32 bytes, Access access);
  bool plain_segment(u16 selector, u8 mask, u8 value, Segment& into);

  bool translatable() const;
  // ---- translator_legacy.cpp: 16- and 32-bit code ----
  bool legacy_translatable() const;
  void complete_legacy(CodeMode& mode) const;
  void enter_legacy(u16 mode);
  u64 code_tag(u16 mode);
  /// Instruction pointer of what lies at `offset` of the page that is executing.
  u64 rip_at(PageCode const& page, i64 offset) const;
  /// How many bytes from RIP on CS lets execute; 0: none.
  u64 code_left() const;
  // ----
  CodeMode mode() const;
  u32 find_block(bool grouped = true);
  u32 translate(PageCode& page, u16 offset, bool grouped);
  u32 find_crossing(PageCode& page, u64 linear);
  u32 generate(PageCode& page, u16 offset, bool grouped);
  bool nearly_full() const;
  bool note_code(PageCode& page, std::byte* host, u64 chunks);
  void clear_cache();
  void enter(u32 block);
  RunExit step();
  void arrive(ExitKind kind);
  bool verified(ExitKind kind);
  RunExit leave_settled(ExitKind kind);
  std::span<u8> host_code(Block const& block);
  void show_block(Block const& block, u64 linear);
  void show_exit(ExitKind kind);
  RunExit execute(GenericInstruction const& instruction);

  // ---- after an exit ----
  RunExit leave(ExitKind kind);
  RunExit access(Site const& site);
  void take_flags(bool saved);
  void settle(u32 site, bool jumped = false);
  void settle_exit(Exit const& exit);
  void link(u32 exit, u32 target);
  void fill_slot(u32 exit, u32 target);
  void fill_jump(u64 linear, u32 target);
  void note_executed(PageCode const& page, u64 linear);
  void forward_stale(u32 block, u32 target);
  void trap();
  void repair_x87_pointers();
  void drop_page(PageCode& page);
  void kill(u32 block);
  u64 indirect_entry(u32 block) const {
    // SOUND: an address in executable memory, as a number.
    return reinterpret_cast<u64>(cache_->executable(cache_->blocks[block].indirect_entry));
  }
  u8 const* entry_of(u32 block, bool flags_saved) const {
    return cache_->executable(cache_->blocks[block].entry_for(flags_saved));
  }
  /// The linear address at which the page runs, or has just run.
  u64 place_of(PageCode const& page) const { return page.relative ? page.places[window_number_] : page.linear; }
  /// Before the page's code runs there.
  void set_place(PageCode& page, u64 linear);

  Cpu& cpu_;
  std::unique_ptr<CodeCache> cache_;
  std::unique_ptr<Stack> stack_;
  Context* context_{};
  Interpreter interpreter_{BlockCache::Size::small};
  Trampolines trampolines_;
  std::unique_ptr<Region> region_;
  Counters counters_;
  u32 next_{CodeCache::no_block};  // where to go on, when that is known
  bool arrived_{};                 // by SYSCALL or SYSRET: the next time without leaving
  u64 generation_{};               // of the cache: changes when everything is forgotten
  u16 mode_{};                     // key of the code that runs
  u8 window_number_{};
  std::unordered_map<u64, u32> slots_;
  std::map<std::tuple<u64, u32, u16>, u64> code_tags_;  // by CS base, limit and mode
  JumpTables tables_;
  struct Recent {
    u64 linear{};
    PageCode* page{};
  };
  std::array<Recent, 4096> recent_{};  // by page number

  // ---- tools ----
  std::unique_ptr<Verifier> verifier_;
  u32 entered_{};  // block
  u64 entries_{};
  std::function<void(Block const&, std::span<u8>)> new_block_seen_;
  PerfMap perf_map_;
  struct Miss {
    u64 linear{};
    bool write{};
  };
  std::array<Miss, 32> misses_{};  // of the TLB since the last entry, for the trace
  u32 miss_count_{};
};

}  // namespace vireo::engine::soft::translate
