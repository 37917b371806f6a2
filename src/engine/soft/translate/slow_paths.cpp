#include "engine/soft/translate/host.h"
#include "engine/soft/translate/translator.h"
#include "x86/address.h"

// What translated code calls: TLB misses, SYSCALL, SYSRET. Compiled without vector registers: the guest's are
// live.
namespace vireo::engine::soft::translate {

namespace {

constexpr u16 code64{0xa09b}, data{0xc093}, dpl3{0x60};
constexpr u64 user_end{u64{1} << 47}, page_mask{~u64{0xfff}};
constexpr u64 care_flags{x86::flag_tf | x86::flag_rf};
constexpr u64 returned_flags{0x3c'7fd7};
constexpr u64 interrupt_flags{x86::arithmetic_flags | x86::flag_tf | x86::flag_if | x86::flag_df |
                              x86::flag_iopl | x86::flag_nt | x86::flag_rf | x86::flag_ac | x86::flag_vif |
                              x86::flag_vip | x86::flag_id};
/// What to look for in the access byte of a descriptor beside its privilege.
struct SegmentKind {
  u8 mask, value;
};
constexpr SegmentKind plain_code{0x9d, 0x99},
    plain_data{0x9b, 0x93};  // present, accessed; not conforming; writable

void load_flat(Segment& segment, u32 selector, u16 attributes) {
  segment.base = 0;
  segment.limit = 0xffff'ffff;
  segment.selector = static_cast<u16>(selector);
  segment.attributes = attributes;
}

}  // namespace

// ---- TLB misses ----

u64 Translator::refill(Context* context, u64 linear, u32 number) {
  auto& self = *context->translator;
  auto const& site = self.cache_->sites[number];
  ++self.counters_.refills;
  context->fault_address = linear;
  if (self.miss_count_ < self.misses_.size()) self.misses_[self.miss_count_] = {linear, site.write};
  ++self.miss_count_;
  auto const* const host =
      self.cpu_.mmu.refill(linear, site.size, site.write ? Access::write : Access::read, self.cpu_.rights());
  // SOUND: an address in guest memory, as a number.
  return host != nullptr ? reinterpret_cast<u64>(host) - linear : no_distance;
}

/// STAC and CLAC: other rights, another window. 0 when that is not ready.
u64 Translator::set_access(Context* context, u64, u32 number) {
  auto& self = *context->translator;
  auto& state = self.cpu_.state;
  auto const& what = self.cache_->interpreted[self.cache_->sites[number].interpreted].instruction;
  auto const allowed = what.operation == x86::Operation::stac;
  auto const before = state.rflags;
  state.rflags = allowed ? before | x86::flag_ac : before & ~u64{x86::flag_ac};
  self.cpu_.change_privilege64(0);
  auto const window = self.cpu_.mmu.window(self.cpu_.rights());
  auto& page = *self.cache_->blocks[self.cache_->block_of_site(number)].page;
  if (!self.tables_.ready(window, CodeMode::window_key(self.mode_)) ||
      !self.tables_.runs_at(window, page, self.place_of(page))) {
    state.rflags = before;
    self.cpu_.change_privilege64(0);
    return 0;
  }
  self.window_number_ = window;
  set_window_base(&self.cpu_.mmu.window_at(window));
  return 1;
}

// ---- jumps that the tables do not know ----

/// The code of the page at `linear`, when that is in the TLB and runs there.
PageCode* Translator::known_page(u64 linear, Rights rights, u16 mode) const {
  auto const& entry = cpu_.mmu.entry(rights == Rights::user ? rights : Rights::supervisor, linear);
  auto const page_linear = linear & page_mask;
  if (entry.execute != page_linear) return nullptr;
  auto const& recent = recent_[(linear >> 12) % recent_.size()];
  if (recent.page == nullptr || recent.linear != page_linear) return nullptr;
  auto& page = *recent.page;
  // SOUND: compared only.
  if (reinterpret_cast<u64>(page.host) != entry.page || page.mode != mode) return nullptr;
  return &page;
}

/// Where a jump to `linear` leads in the window of these rights; 0 when that must be found outside.
u64 Translator::known_jump(u64 linear, Rights rights, u16 mode) {
  auto const window = cpu_.mmu.window(rights);
  auto* const page = known_page(linear, rights, mode);
  if (page == nullptr) return 0;
  auto const number = cache_->find(*page, static_cast<u16>(linear & ~page_mask), true);
  if (number == CodeCache::no_block || !tables_.runs_at(window, *page, linear & page_mask)) return 0;
  auto const code = indirect_entry(number);
  tables_.set_jump(window, linear, code);
  cpu_.mmu.note_executed(window, linear);
  ++counters_.jumps_found;
  return code;
}

u64 Translator::find_jump(Context* context, u64 linear) {
  auto& self = *context->translator;
  auto const index = JumpTables::jump_index(linear);
  if (index == 0 || context->wanted()) return 0;
  if (self.verifier_ != nullptr || !self.cpu_.code64()) return 0;
  context->site = static_cast<u32>(index * sizeof(Window::Jump));
  return self.known_jump(linear, self.cpu_.rights(), self.mode_);
}

u64 Translator::find_slot(Context* context, u64 number) {
  auto& self = *context->translator;
  if (context->wanted() || self.verifier_ != nullptr || !self.cpu_.code64()) return 0;
  auto const& exit = self.cache_->exits[number];
  auto& from = *self.cache_->blocks[exit.block].page;
  auto const window = self.window_number_;
  auto const place = self.place_of(from);
  auto const linear = place + static_cast<u64>(exit.target);
  auto* const found = self.known_page(linear, self.cpu_.rights(), self.mode_);
  if (found == nullptr) return 0;
  auto& page = *found;
  auto const target = self.cache_->find(page, static_cast<u16>(linear & ~page_mask), exit.grouped);
  if (target == CodeCache::no_block) return 0;
  if (!self.tables_.runs_at(window, from, place) || !self.tables_.runs_at(window, page, linear & page_mask))
    return 0;
  // SOUND: an address in executable memory, as a number.
  auto const code = reinterpret_cast<u64>(self.entry_of(target, exit.flags_saved));
  self.tables_.set_slot(window, exit.slot, code);
  self.cpu_.mmu.note_executed(window, linear);
  ++self.counters_.slots_found;
  return code;
}

// ---- system calls ----

/// Where code at `linear` begins when it is known in the window of these rights; 0 when it is not.
u64 Translator::go_to(u64 linear, Rights rights) {
  auto const window = cpu_.mmu.window(rights);
  auto const mode = static_cast<u16>(rights == Rights::user ? mode_ & ~CodeMode::supervisor_key
                                                            : mode_ | CodeMode::supervisor_key);
  if (verifier_ != nullptr || context_->wanted() || !tables_.ready(window, CodeMode::window_key(mode)))
    return 0;
  auto& table = cpu_.mmu.window_at(window);
  auto const index = JumpTables::jump_index(linear);
  auto const& jump = table.jumps[index];
  if (jump.linear != linear && (index == 0 || known_jump(linear, rights, mode) == 0)) return 0;
  mode_ = mode;
  window_number_ = window;
  set_window_base(&table);
  context_->address = linear;
  context_->site = static_cast<u32>(index * sizeof(Window::Jump));
  return jump.code;
}

u64 Translator::system_call(Context* context, SavedRegisters& registers, u32 number) {
  auto& self = *context->translator;
  auto& cpu = self.cpu_;
  auto& state = cpu.state;
  auto const kept = state.rflags & ~state.sfmask;
  if (!(state.efer & x86::efer_sce) || (kept & (care_flags | x86::flag_ac)) || cpu.cpl() != 3) return 0;
  auto const& site = self.cache_->sites[number];
  auto const& block = self.cache_->blocks[self.cache_->block_of_site(number)];
  auto const base = self.place_of(*block.page);
  auto const to = self.go_to(state.lstar, Rights::supervisor);
  if (to == 0) return 0;
  auto const before = (state.rflags & ~u64{x86::arithmetic_flags}) | context->saved_flags();
  registers.rcx = base + block.start + site.guest_offset + 2;
  context->gpr[x86::r11] = before;
  state.rflags = (before & ~state.sfmask) | x86::flag_fixed;
  context->save_flags(state.rflags);
  auto const selector = static_cast<u32>(state.star >> 32) & 0xfffc;
  load_flat(state.cs(), selector, code64);
  load_flat(state.ss(), selector + 8, data);
  cpu.change_privilege64(0);
  return to;
}

u64 Translator::system_return(Context* context, SavedRegisters& registers, u32) {
  auto& self = *context->translator;
  auto& cpu = self.cpu_;
  auto& state = cpu.state;
  auto const target = registers.rcx;
  auto const wanted = context->gpr[x86::r11];
  if (!(state.efer & x86::efer_sce) || target >= user_end) return 0;
  if (wanted & (care_flags | x86::flag_ac)) return 0;
  if ((wanted & x86::flag_if) && context->interrupt_waits != 0) return 0;
  auto const to = self.go_to(target, Rights::user);
  if (to == 0) return 0;
  state.rflags = (wanted & returned_flags) | x86::flag_fixed;
  context->save_flags(state.rflags);
  auto const selector = static_cast<u32>(state.star >> 48);
  load_flat(state.cs(), (selector + 16) | 3, code64 | dpl3);
  load_flat(state.ss(), (selector + 8) | 3, data | dpl3);
  cpu.change_privilege64(3);
  return to;
}

// ---- IRET between 64-bit code ----

/// Without a look into the jump cache: C++ finds the code. Context::address tells where.
u64 Translator::come_out(u64 linear, Rights rights) {
  window_number_ = cpu_.mmu.window(rights);
  context_->address = linear;
  // SOUND: an address in executable memory, as a number.
  return reinterpret_cast<u64>(trampolines_.exit(ExitKind::indirect));
}

/// The segment that loading `selector` gives, when it is in the GDT, its access byte is right, and its
/// privilege is the selector's.
bool Translator::plain_segment(u16 selector, u8 mask, u8 value, Segment& into) {
  auto const& table = cpu_.state.gdtr;
  auto const offset = u32{selector} & 0xfff8;
  if ((selector & 4) != 0 || offset == 0 || offset + 7 > table.limit) return false;
  auto const linear = table.base + offset;
  auto const& entry = cpu_.mmu.entry(Rights::supervisor, linear);
  // SOUND: a tag says that the page lies in guest memory; a descriptor has eight bytes.
  auto const* const at = in_page(entry.read, linear, 8)
                             ? reinterpret_cast<std::byte const*>(entry.page + linear % page_size)
                             : cpu_.mmu.refill(linear, 8, Access::read, Rights::supervisor);
  if (at == nullptr) return false;
  auto const low = load_le<u64>(at);
  auto const access = static_cast<u8>(low >> 40);
  if ((access & mask) != value || (access >> 5 & 3) != (selector & 3)) return false;
  auto const raw = static_cast<u32>((low & 0xffff) | (low >> 32 & 0xf0000));
  into.base = (low >> 16 & 0xffffff) | (low >> 32 & 0xff000000);
  into.limit = (low >> 55 & 1) != 0 ? raw << 12 | 0xfff : raw;
  into.selector = selector;
  into.attributes = static_cast<u16>(access | (low >> 40 & 0xf000));
  return true;
}

u64 Translator::interrupt_return(Context* context, SavedRegisters& registers, u32) {
  auto& self = *context->translator;
  auto& cpu = self.cpu_;
  auto& state = cpu.state;
  if (self.verifier_ != nullptr || state.nmi_blocked || (state.rflags & x86::flag_nt)) return 0;
  auto const* const frame = self.reach(registers.rsp, 40, Access::read);
  if (frame == nullptr) return 0;
  auto const target = load_le<u64>(frame);
  auto const code_selector = load_le<u16>(frame + 8);
  auto const popped = load_le<u64>(frame + 16);
  auto const pointer = load_le<u64>(frame + 24);
  auto const stack_selector = load_le<u16>(frame + 32);
  auto const cpl = static_cast<u8>(code_selector & 3);
  auto const outer = cpl == 3;
  if ((cpl != 0 && !outer) || !x86::is_canonical(target) || (stack_selector & 3) != cpl) return 0;
  // RF means something only while a breakpoint is armed, and then code is not translated.
  auto const flags =
      (state.rflags & ~interrupt_flags) | (popped & interrupt_flags & ~u64{x86::flag_rf}) | x86::flag_fixed;
  if (flags & (x86::flag_tf | x86::flag_nt | (outer ? x86::flag_ac : 0u))) return 0;
  if ((flags & x86::flag_if) && context->interrupt_waits != 0) return 0;
  auto code_segment = Segment{}, stack_segment = Segment{};
  if (!self.plain_segment(code_selector, plain_code.mask, plain_code.value, code_segment)) return 0;
  if (!code_segment.long_mode() || code_segment.big()) return 0;
  if (stack_selector < 4 && !outer) {  // null
    stack_segment.limit = 0xffff;
    stack_segment.selector = stack_selector;
    stack_segment.attributes = 0x100;
  } else if (!self.plain_segment(stack_selector, plain_data.mask, plain_data.value, stack_segment)) {
    return 0;
  }
  for (auto i = 0u; i < state.segment.size() && outer; ++i) {
    auto const& segment = state.segment[i];
    auto const stays = static_cast<x86::SegmentRegister>(i) == x86::SegmentRegister::cs ||
                       static_cast<x86::SegmentRegister>(i) == x86::SegmentRegister::ss || segment.unusable() ||
                       segment.dpl() == 3;
    if (!stays) return 0;
  }
  registers.rsp = pointer;
  state.cs() = code_segment;
  state.ss() = stack_segment;
  state.rflags = flags;
  context->save_flags(flags);
  cpu.change_privilege64(cpl);
  auto const to = self.go_to(target, cpu.rights());
  return to != 0 ? to : self.come_out(target, cpu.rights());
}

}  // namespace vireo::engine::soft::translate
