#pragma once

#include <array>
#include <span>

#include "x86/instruction.h"

namespace vireo::engine::soft::translate {

/// How an instruction is translated.
enum class Kind : u8 {
  native,        // the host's own instruction, its memory operand through the TLB
  nothing,       // NOP, prefetch
  load_address,  // LEA
  push,
  pop,
  leave,
  branch,  // Jcc
  jump,
  call,
  indirect_jump,
  indirect_call,
  ret,
  system,       // SWAPGS, CLI, STI, PUSHF, RDTSC, MOV from a segment register
  system_call,  // SYSCALL, SYSRET, IRET
  string,       // MOVS and its like, XLAT; with REP only MOVS and STOS
  bit_test,     // in memory, with the bit number in a register
  loop,         // JCXZ, LOOP
  interpret,    // the interpreter's; ends the region
};

/// What decides how code is translated beside its bytes; part of a block's key.
struct CodeMode {
  x86::CodeSize code_size{};
  bool sse{}, avx{}, x87{};  // allowed by CR0, CR4 and XCR0
  bool supervisor{}, tsc{};  // CPL 0; CR4.TSD is clear
  // In 16- and 32-bit code:
  bool protected_mode{true};
  bool flat_code{};  // 32-bit code, CS has base 0 and no limit
  u8 flat{};         // a bit per segment register: Cpu::flat_segments()
  u8 stack_size{8};  // of stack addresses
  static constexpr u16 supervisor_key{32};
  u16 key() const {
    auto const common = static_cast<u16>(code_size) | (sse ? 4 : 0) | (avx ? 8 : 0) | (x87 ? 16 : 0);
    if (code64()) return static_cast<u16>(common | (supervisor ? supervisor_key : 0) | (tsc ? 64 : 0));
    return static_cast<u16>(common | (protected_mode ? 32 : 0) | (flat_code ? 64 : 0) |
                            (stack_size == 4 ? 128 : 0) | (flat & 0x3f) << 8);
  }
  bool code64() const { return code_size == x86::CodeSize::bits64; }
  /// What the tables of one window may lead to at the same time.
  static u16 window_key(u16 key) {
    auto const legacy = (key & 3) != static_cast<u16>(x86::CodeSize::bits64);
    return legacy ? u16{0xffff} : key;
  }
};

struct Item {
  x86::Instruction insn;
  Kind kind{};
  u8 memory_operand{0xff};  // index in insn.operands of the operand in memory that is accessed
  bool decoded{};
  bool vector{};    // touches x87, MMX, SSE or AVX state
  bool may_trap{};  // the host may raise an exception of its own
  bool writes_flags{};
  u16 offset{};     // from the region's start
  u16 registers{};  // a bit per guest register that it names or implies
  u16 written{};
  u32 flags_needed{};                          // before it: what it reads, and what lives on behind it
  u32 flags_at_target{x86::arithmetic_flags};  // of a direct jump: what lives where it leads, all or none
  u8 group{no_group};                          // of accesses that share a check
  bool first_of_group{};

  static constexpr u8 no_group{0xff};
};

/// Accesses through one base register that lie close together: the first checks for all of them.
struct AccessGroup {
  u8 base{};   // guest register
  u8 place{};  // host register that holds the distance from guest to host addresses: the region does not use
               // it; no_place: it lies in the context
  i32 low{};   // of all accesses, relative to the base register where the first one is
  u32 bytes{};
  bool write{};
  bool before_loop{};  // checked once, before the region's loop begins
  // Accesses that a loop moves by the same distance at each turn, checked for all turns in a page at once:
  bool moves{};
  u8 index{x86::no_register}, scale{1};
  i32 stride{};  // bytes; may be 0
  static constexpr u8 no_place{0xff};
};

/// Straight-line guest code with side exits, decoded and looked over. Ends before anything that fits no more.
struct Region {
  static constexpr u32 max_items{64}, max_branches{8};
  std::array<Item, max_items> items;
  u32 count{};
  u16 length{};     // bytes
  u16 registers{};  // of all items
  bool vectors{};
  bool loops{};         // a branch of it goes to its start
  bool comes_back{};    // the loop has groups that move; a copy without groups goes there after each turn
  u8 turns{};           // when some do: the host register that counts down until they must be checked again
  u16 taken{};          // host registers that hold distances and turns of them
  bool goes_on{};       // control falls out of its end
  bool crosses_page{};  // the next instruction does
  u32 live_flags{};     // at the start
  u32 flags_behind{};   // that live where control falls out of its end
  u64 looked_at{};      // 64-byte pieces of the page that told which flags live behind jumps,
  u64 looked_sum{};     // and a sum of the bytes there
  static constexpr u32 max_groups{12};
  std::array<AccessGroup, max_groups> groups;
  u32 group_count{};

  void forget_groups() {
    for (auto& item : items) item.group = Item::no_group;
    group_count = 0;
  }
  std::span<Item const> all() const { return {items.data(), count}; }
};

/// Where a region begins.
struct GuestCode {
  std::span<u8 const> bytes;  // of a page from its start, as far as they may run; or of one instruction in two
  u32 begin{};
  bool page{true};
};

/// Offers of the CPU model that decoding alone does not know.
class Features {
 public:
  virtual ~Features() = default;
  virtual bool offered(x86::Instruction const& insn) const = 0;
};

/// How a decoded instruction is translated.
Kind classify(Item& item, CodeMode const& mode, Features const& features);

/// How an instruction of 16- or 32-bit code is translated that has its own Kind in 64-bit code.
Kind classify_legacy(Item const& item, CodeMode const& mode);

/// A string instruction with REP.
inline bool is_repeated(x86::Instruction const& insn) { return insn.prefixes.rep || insn.prefixes.repne; }

/// Kind::string, bit_test or loop, or else `interpret`.
Kind classify_implicit(x86::Instruction const& insn, CodeMode const& mode);

/// Finds accesses that can share a check, and registers for them.
void find_groups(Region& region);

/// What an instruction does to a register: leaves it, adds a constant, or anything else.
struct Change {
  bool constant{true};
  i32 by{};
};
Change change_of(Item const& item, u8 reg);

/// Host registers that hold nothing while the region runs, a bit each.
u16 free_registers(Region const& region);

/// In a loop, finds accesses that it moves by a constant distance, and registers for them.
void find_moving_groups(Region& region);

/// Which flags live before each instruction, and where the region is left.
void find_flag_needs(GuestCode const& code, CodeMode const& mode, Features const& features, Region& region);

/// Decodes what begins there and looks it over.
void analyse(GuestCode const& code, CodeMode const& mode, Features const& features, Region& region,
             u32 max_items = Region::max_items);

}  // namespace vireo::engine::soft::translate
