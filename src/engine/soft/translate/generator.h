#pragma once

#include <cstddef>

#include "engine/soft/translate/code_cache.h"
#include "engine/soft/translate/reencode.h"
#include "engine/soft/translate/region.h"
#include "engine/soft/translate/tlb_code.h"
#include "engine/soft/translate/trampolines.h"

namespace vireo::engine::soft::translate {

/// Hands out the numbers of slots: places in a window that hold where a jump to another page goes.
class Slots {
 public:
  virtual ~Slots() = default;
  /// The slot of jumps from `page` to `target` (relative to the page's start).
  virtual u32 slot_for(PageCode const& page, i64 target, bool flags_saved) = 0;
};

/// Finds what the interpreter does with an instruction.
class Lowering {
 public:
  virtual ~Lowering() = default;
  virtual GenericInstruction lowered(x86::Instruction const& insn) = 0;
};

/// Writes one block.
class Generator {
 public:
  Generator(Emitter& out, CodeCache& cache, Trampolines const& trampolines, Slots& slots, Lowering& lowering,
            Region const& region, CodeMode const& mode, u32 block);
  void run();

 private:
  struct Cold {
    enum class Kind : u8 { refill, refill_group, load_vectors, leave, interrupt, refused, interpret } kind{};
    Saved flags{};
    bool write{}, backward{};
    bool never_refill{};  // a group whose first access reads and another writes
    Reg into{};           // where the distance goes
    bool to_host{};       // r10 becomes the host's address
    bool stack{};         // by Window::stack
    u32 bytes{};
    u32 fall_back{};  // Exit to code without groups
    u32 number{};     // Site or Exit
    u32 patch{};      // the conditional jump here
    Label entry, back;
  };

  // ---- generator.cpp ----
  void entries();
  bool saves_flags_first() const;
  void begin_with_saved_flags();
  void item(Item const& item);
  void native(Item const& item);
  void load_address(Item const& item);
  void need_vectors(Item const& item);
  void loans_begin();
  void add_loan(Loan loan);
  void loans_end();
  Reg host(u8 guest) const { return map_.host[guest]; }
  Block& block() { return cache_.blocks[block_]; }
  Block const& block() const { return cache_.blocks[block_]; }
  u32 here() const { return base_ + out_.size(); }
  u16 from_entry() const { return static_cast<u16>(here() - block().indirect_entry); }
  Cold& cold(Cold::Kind kind);
  void cold_code();
  void stale_entries();
  u32 site(Item const& item, u32 size, bool write);

  // ---- generator_memory.cpp ----
  /// The linear address that `insn`'s memory operand has; the flags may be lost.
  void address(Item const& item);
  /// r10 = linear address -> r10 = host address.
  void check(Item const& item, u32 size, bool write);
  /// Where the operand in memory is reached, perhaps by r10 or r11; the flags may be lost.
  Mem reach(Item const& item);
  /// Base, index and displacement of an operand whose displacement has 32 bits.
  Mem registers_of(x86::Instruction const& insn) const;
  /// r10 = the address. Leaves the flags.
  void to_scratch(Mem const& guest, Width width = Width::q);
  Mem reach_by_distance(Item const& item, Mem guest, u32 size, bool write);
  /// The same place as r10 alone.
  Mem in_scratch(Mem place);
  /// The same for an access to guest memory at `linear`, a base register and a displacement.
  Mem reach_at(Item const& item, Mem linear, u32 size, bool write);
  Mem reach_in_group(Item const& item, i32 displacement);
  /// The register that holds the distance now.
  Reg check_group(AccessGroup const& group, Item const& item, bool first_writes);
  /// r10 = linear address -> r10 = offset in its page, r11 = offset of the entry.
  void check_tag(bool write, u32 bytes, Label& miss);
  /// The same, and `into` = the distance; by the stack pointer's own page. r11 stays.
  void check_stack_page(Cold& miss, Label& otherwise);
  void find_distance(Cold& miss);
  void try_stack_page(Cold& miss);
  Cold& refill_cold(Item const& item, u32 size, bool write);
  /// r10 = linear address of the group's first byte -> the distance where the group keeps it; r10 keeps the
  /// offset in the page.
  Reg check_range(AccessGroup const& group, Item const& item, bool first_writes);
  Reg distance(u32 group);
  static Mem distance_home(std::size_t group) { return in_context(offsetof(Context, distances) + group * 8); }
  void groups_before_loop();

  // ---- generator_loop_groups.cpp ----
  void prepare_loop();
  void prepare_group(u32 number);
  Mem guest_place(AccessGroup const& group, i32 displacement) const;
  Mem reach_moving(Item const& item, i32 displacement);

  // ---- generator_memory.cpp ----
  /// Before something that changes the flags, and after it before something that needs them.
  void lose_flags(u32 needed);
  void save_all_flags();
  void restore_flags();
  void flags_written() { flags_in_register_ = true, saved_ = Saved::nothing; }
  void push(Item const& item);
  void pop(Item const& item);
  void leave(Item const& item);
  void push_return_address(Item const& item);
  /// The linear address `offset` bytes behind the block's start. Leaves the flags.
  void put_linear(Reg to, i64 offset, Width width);
  Mem place_of_page() const { return TlbCode::in_window(offsetof(Window, slots) + page_.slot * 8); }

  // ---- generator_legacy.cpp: 16- and 32-bit code ----
  void offset_of_operand(Item const& item);
  void add_segment(Item const& item, x86::SegmentRegister segment, u32 size, bool write);
  void legacy_address(Item const& item, u32 size, bool write);
  void legacy_load_address(Item const& item);
  /// SS:`from` + displacement, as wide as the stack.
  Mem reach_stack(Item const& item, Reg from, i32 displacement, u32 size, bool write);
  void move_stack(Reg from, i32 by);
  void legacy_push(Item const& item);
  void legacy_pop(Item const& item);
  void legacy_leave(Item const& item);
  i64 legacy_target_of(Item const& item) const;
  bool beyond_limit(i64 target) const;
  void check_limit(Item const& item);
  void legacy_push_return_address(Item const& item);
  void legacy_go_indirect(Item const& item);
  void legacy_indirect(Item const& item);
  void legacy_ret(Item const& item);

  // ---- generator_string.cpp, generator_loop.cpp ----
  void reach_offset(Item const& item, x86::SegmentRegister segment, u32 size, bool write);
  void reach_string(Item const& item, x86::SegmentRegister segment, Reg index, u32 size, bool write);
  void cut_offset(u8 address_size);
  void advance(Reg index, u8 address_size, i32 by);
  void string(Item const& item);
  void translate_byte(Item const& item);
  void bit_distance(x86::Operand const& number);
  void bit_test(Item const& item);
  void test_counter(u8 address_size);
  void loop(Item const& item);
  void pop_to_memory(Item const& item);

  // ---- generator_control.cpp ----
  void branch(Item const& item);
  void jump(Item const& item);
  void call(Item const& item);
  void indirect(Item const& item);
  void ret(Item const& item);
  void go_indirect(Item const& item, i32 popped);
  void refuse_other_half(Item const& item);
  void interpret(Item const& item);
  u32 interpreted_site(Item const& item);

  // ---- generator_system.cpp ----
  void system(Item const& item);
  void read_control(Item const& item);
  void call_system(Item const& item, u8 const* function);
  void swapgs();
  void sti(Item const& item);
  void push_flags(Item const& item);
  void time_stamp(Item const& item);
  void change_privilege(Item const& item);
  void leave_to(i64 target, bool backward, u32 live_flags);
  u32 new_exit(i64 target, bool flags_saved);
  bool in_page(i64 target) const;
  /// A jump to the block's own start that stays in it.
  bool goes_round(i64 target) const {
    return target == block().start && (!region_.comes_back || block().grouped);
  }
  i64 target_of(Item const& item) const;
  void poll_at_start();
  void finish_leaving(Cold const& leaving);
  void jump_out(u32 exit);
  /// To C++, with the number of an Exit or a Site.
  void leave_as(ExitKind kind, u32 number);

  Emitter& out_;
  CodeCache& cache_;
  Trampolines const& trampolines_;
  Slots& slots_;
  Lowering& lowering_;
  Region const& region_;
  CodeMode mode_;
  u32 block_;
  PageCode const& page_;
  u32 base_;
  RegisterMap map_{};
  bool flags_in_register_{true};  // the guest's flags are in RFLAGS
  Saved saved_{};                 // what of them is in the context
  bool vectors_ready_{};
  Label body_{}, prepare_{};
  std::array<Cold, 256> cold_{};
  u32 cold_count_{};
};

}  // namespace vireo::engine::soft::translate
