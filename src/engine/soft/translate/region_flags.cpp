#include "engine/soft/code_pages.h"
#include "engine/soft/translate/region.h"
#include "x86/decoder.h"
#include "x86/table.h"

// Which flags live where: those that are overwritten before anything reads them need not be kept.
namespace vireo::engine::soft::translate {
namespace {

using x86::OperandKind;
using x86::Operation;

constexpr u32 most_looks{6};  // at instructions behind a jump

/// What of the flags an instruction reads and certainly replaces.
struct FlagUse {
  u32 read{}, replaced{};
};
FlagUse flag_use(Item const& item) {
  using enum Operation;
  auto const& insn = item.insn;
  switch (item.kind) {
    case Kind::native:
    case Kind::string:
    case Kind::bit_test: break;
    case Kind::nothing:
    case Kind::load_address:
    case Kind::push:
    case Kind::pop:
    case Kind::leave: return {};
    case Kind::branch: return {.read = x86::flags_read(insn) | item.flags_at_target};
    case Kind::jump:
    case Kind::call: return {.read = item.flags_at_target, .replaced = x86::arithmetic_flags};
    case Kind::system: return {.read = insn.operation == Operation::pushf ? x86::arithmetic_flags : 0};
    default: return {.read = x86::arithmetic_flags};
  }
  auto const& masks = x86::row_of(insn).flags;
  auto const read = x86::flags_read(insn);
  auto const touched = masks.written | masks.undefined;
  if (x86::shifts_or_rotates(insn.operation)) {
    auto const& count = insn.operands[insn.operand_count - 1];
    if (count.kind == OperandKind::gpr) return {.read = read};  // a count of 0 leaves them
    auto const bits = insn.operands[0].size == 8 ? 0x3fu : 0x1fu;
    auto const by_one = insn.opcode == 0xd0 || insn.opcode == 0xd1;
    if (!by_one && (insn.immediate & bits) == 0) return {.read = read};
    return {.read = read, .replaced = touched};
  }
  switch (insn.operation) {
    case bsf:
    case bsr:
    case cmpxchg8b:
    case cmpxchg16b: return {.read = read, .replaced = masks.written};
    default: return {.read = read, .replaced = touched};
  }
}

bool is_direct_jump(Kind kind) { return kind == Kind::branch || kind == Kind::jump || kind == Kind::call; }

/// Looks at the first instructions at a place of the region's page.
class Look {
 public:
  Look(GuestCode const& code, CodeMode const& mode, Features const& features, Region& region)
      : code_{code}, mode_{mode}, features_{features}, region_{region} {}

  /// What must be kept for the code there: all flags or none.
  u32 live_at(i64 offset) { return overwritten(offset) ? 0 : x86::arithmetic_flags; }

 private:
  /// All flags are, before any of them is read.
  bool overwritten(i64 offset) {
    auto open = u32{x86::arithmetic_flags};
    if (!code_.page || !mode_.code64()) return false;
    for (auto left = most_looks; left > 0 && open != 0; --left) {
      auto item = Item{};
      if (!decode(offset, item)) break;
      offset += item.insn.length;
      if (item.kind == Kind::jump || item.kind == Kind::call) {
        offset += static_cast<i64>(item.insn.immediate);
        continue;
      }
      auto const use = flag_use(item);
      if ((use.read & open) != 0) return false;
      open &= ~use.replaced;
    }
    return open == 0;
  }

  bool decode(i64 offset, Item& item) {
    if (offset < 0 || offset >= static_cast<i64>(code_.bytes.size())) return false;
    auto const at = static_cast<std::size_t>(offset);
    auto const bytes = code_.bytes.subspan(at, std::min<std::size_t>(code_.bytes.size() - at, 15));
    if (x86::decode(bytes, mode_.code_size, mode_.protected_mode, item.insn) != x86::DecodeStatus::ok)
      return false;
    item.kind = classify(item, mode_, features_);
    region_.looked_at |= CodePages::chunks_of(at, item.insn.length);
    for (auto i = 0u; i < item.insn.length; ++i) region_.looked_sum = region_.looked_sum * 257 + bytes[i];
    return true;
  }

  GuestCode const& code_;
  CodeMode const& mode_;
  Features const& features_;
  Region& region_;
};

}  // namespace

void find_flag_needs(GuestCode const& code, CodeMode const& mode, Features const& features, Region& region) {
  region.looked_at = region.looked_sum = 0;
  auto look = Look{code, mode, features, region};
  region.flags_behind = region.goes_on ? look.live_at(i64{code.begin} + region.length) : x86::arithmetic_flags;
  auto live = region.flags_behind;
  for (auto i = region.count; i-- > 0;) {
    auto& item = region.items[i];
    if (is_direct_jump(item.kind)) {
      auto const target = i64{code.begin} + item.offset + item.insn.length;
      item.flags_at_target = look.live_at(target + static_cast<i64>(item.insn.immediate));
    }
    auto const use = flag_use(item);
    live = use.read | (live & ~use.replaced);
    item.flags_needed = live;
    item.writes_flags = item.kind == Kind::native &&
                        ((x86::row_of(item.insn).flags.written | x86::row_of(item.insn).flags.undefined) != 0);
  }
  region.live_flags = region.count == 0 ? u32{x86::arithmetic_flags} : live;
}

}  // namespace vireo::engine::soft::translate
