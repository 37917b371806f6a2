#include "engine/soft/translate/host.h"
#include "engine/soft/translate/translator.h"

// What translated code calls: TLB misses, SYSCALL, SYSRET. Compiled without vector registers: the guest's are
// live.
namespace vireo::engine::soft::translate {

namespace {

constexpr u16 code64{0xa09b}, data{0xc093}, dpl3{0x60};
constexpr u32 rcx_place{5};  // in the registers that the trampoline saves, from the last to the first
constexpr u64 user_end{u64{1} << 47}, page_mask{~u64{0xfff}};
constexpr u64 care_flags{x86::flag_tf | x86::flag_rf};
constexpr u64 returned_flags{0x3c'7fd7};

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
  // SOUND: an address in guest memory, as a number.
  return reinterpret_cast<u64>(
      self.cpu_.mmu.refill(linear, site.size, site.write ? Access::write : Access::read, self.cpu_.rights()));
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
  if (!self.tables_.ready(window, CodeMode::window_key(self.mode_))) {
    state.rflags = before;
    self.cpu_.change_privilege64(0);
    return 0;
  }
  self.window_number_ = window;
  set_window_base(&self.cpu_.mmu.window_at(window));
  return 1;
}

// ---- jumps that the tables do not know ----

/// The block at `linear`, when it exists and its page is in the TLB.
u32 Translator::known_block(u64 linear, Rights rights, u16 mode, bool grouped) const {
  auto const& entry = cpu_.mmu.entry(rights, linear);
  auto const page_linear = linear & page_mask;
  if (entry.execute != page_linear) return CodeCache::no_block;
  auto const& recent = recent_[(linear >> 12) % recent_.size()];
  if (recent.page == nullptr || recent.linear != page_linear) return CodeCache::no_block;
  auto const& page = *recent.page;
  // SOUND: compared only.
  if (reinterpret_cast<u64>(page.host) != entry.page || page.mode != mode) return CodeCache::no_block;
  return cache_->find(page, static_cast<u16>(linear & ~page_mask), grouped);
}

/// Where a jump to `linear` leads in the window that runs; 0 when that must be found outside.
u64 Translator::known_jump(u64 linear, Rights rights, u16 mode) {
  auto const number = known_block(linear, rights, mode, true);
  if (number == CodeCache::no_block) return 0;
  auto const& block = cache_->blocks[number];
  auto& page = *block.page;
  if (!tables_.same_delta(window_number_, page, page_delta(page, linear))) return 0;
  // SOUND: an address in executable memory, as a number.
  auto const code = reinterpret_cast<u64>(cache_->executable(block.indirect_entry));
  tables_.set_jump(window_number_, linear, code);
  cpu_.mmu.note_executed(window_number_, linear);
  ++counters_.jumps_found;
  return code;
}

u64 Translator::find_jump(Context* context, u64 linear) {
  auto& self = *context->translator;
  auto const index = JumpTables::jump_index(linear);
  if (index == 0 || context->poll != 0 || context->jump_mask == 0) return 0;
  if (self.verifier_ != nullptr || !self.cpu_.code64()) return 0;
  context->site = static_cast<u32>(index * sizeof(Window::Jump));
  return self.known_jump(linear, self.cpu_.cpl() == 3 ? Rights::user : Rights::supervisor, self.mode_);
}

u64 Translator::find_slot(Context* context, u64 number) {
  auto& self = *context->translator;
  if (context->poll != 0 || self.verifier_ != nullptr || !self.cpu_.code64()) return 0;
  auto const& exit = self.cache_->exits[number];
  auto& from = *self.cache_->blocks[exit.block].page;
  auto const delta = from.relative ? context->delta : 0;
  auto const linear = from.linear + delta + static_cast<u64>(exit.target);
  auto const rights = self.cpu_.cpl() == 3 ? Rights::user : Rights::supervisor;
  auto const target = self.known_block(linear, rights, self.mode_, exit.grouped);
  if (target == CodeCache::no_block) return 0;
  auto& page = *self.cache_->blocks[target].page;
  if (page.relative != from.relative || (page.relative && page_delta(page, linear) != delta)) return 0;
  auto const window = self.window_number_;
  if (!self.tables_.same_delta(window, from, delta) || !self.tables_.same_delta(window, page, delta)) return 0;
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
  if (!tables_.ready(window, CodeMode::window_key(mode)) || context_->poll != 0) return 0;
  auto& table = cpu_.mmu.window_at(window);
  auto const index = JumpTables::jump_index(linear);
  if (table.jumps[index].linear != linear) return 0;
  mode_ = mode;
  window_number_ = window;
  set_window_base(&table);
  context_->address = linear;
  context_->site = static_cast<u32>(index * sizeof(Window::Jump));
  return table.jumps[index].code;
}

u64 Translator::system_call(Context* context, u64* registers, u32 number) {
  auto& self = *context->translator;
  auto& cpu = self.cpu_;
  auto& state = cpu.state;
  auto const kept = state.rflags & ~state.sfmask;
  if (!(state.efer & x86::efer_sce) || (kept & (care_flags | x86::flag_ac)) || cpu.cpl() != 3) return 0;
  auto const to = self.go_to(state.lstar, Rights::supervisor);
  if (to == 0) return 0;
  auto const& site = self.cache_->sites[number];
  auto const& block = self.cache_->blocks[site.block];
  auto const base = block.page->linear + (block.page->relative ? context->delta : 0);
  // SOUND: PUSHFQ wrote the eight bytes below the context.
  auto& flags = reinterpret_cast<u64*>(context)[-1];
  auto const before = (state.rflags & ~u64{x86::arithmetic_flags}) | (flags & x86::arithmetic_flags);
  registers[rcx_place] = base + block.start + site.guest_offset + 2;
  context->gpr[x86::r11] = before;
  state.rflags = (before & ~state.sfmask) | x86::flag_fixed;
  flags = state.rflags;
  auto const selector = static_cast<u32>(state.star >> 32) & 0xfffc;
  load_flat(state.cs(), selector, code64);
  load_flat(state.ss(), selector + 8, data);
  cpu.change_privilege64(0);
  return to;
}

u64 Translator::system_return(Context* context, u64* registers, u32) {
  auto& self = *context->translator;
  auto& cpu = self.cpu_;
  auto& state = cpu.state;
  auto const target = registers[rcx_place];
  auto const wanted = context->gpr[x86::r11];
  if (!(state.efer & x86::efer_sce) || target >= user_end) return 0;
  if (wanted & (care_flags | x86::flag_ac)) return 0;
  if ((wanted & x86::flag_if) && context->interrupt_waits != 0) return 0;
  auto const to = self.go_to(target, Rights::user);
  if (to == 0) return 0;
  state.rflags = (wanted & returned_flags) | x86::flag_fixed;
  // SOUND: as above.
  reinterpret_cast<u64*>(context)[-1] = state.rflags;
  auto const selector = static_cast<u32>(state.star >> 48);
  load_flat(state.cs(), (selector + 16) | 3, code64 | dpl3);
  load_flat(state.ss(), (selector + 8) | 3, data | dpl3);
  cpu.change_privilege64(3);
  return to;
}

}  // namespace vireo::engine::soft::translate
