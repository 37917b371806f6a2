#include <fmt/format.h>

#include <algorithm>
#include <utility>

#include "engine/soft/interp/system/event.h"
#include "engine/soft/interp/trace.h"
#include "engine/soft/translate/host.h"
#include "engine/soft/translate/translator.h"
#include "engine/trace.h"
#include "observe/log.h"
#include "x86/address.h"

// What happens when translated code has come back.
namespace vireo::engine::soft::translate {

namespace {
constexpr u64 page_mask{~u64{0xfff}};
}

RunExit Translator::leave(ExitKind kind) {
  ++counters_.exits[static_cast<u32>(kind)];
  cpu_.take_bases_over();
  repair_x87_pointers();
  arrive(kind);
  if ((trace() & (trace_exits | trace_tlb)) != 0) [[unlikely]]
    show_exit(kind);
  if (verifier_ != nullptr && !verified(kind)) [[unlikely]]
    return RunExit::failed;
  return leave_settled(kind);
}

/// The guest's state becomes that of the instruction boundary at which translated code has stopped.
void Translator::arrive(ExitKind kind) {
  auto const number = context_->site;
  switch (kind) {
    case ExitKind::link:
    case ExitKind::slot:
    case ExitKind::poll: return settle_exit(cache_->exits[number]);
    case ExitKind::interrupt:
    case ExitKind::access:
    case ExitKind::interpret: return settle(number);
    case ExitKind::indirect:
      if (cpu_.code64() && !x86::is_canonical(context_->address)) return settle(context_->jumped_from, true);
      take_flags(true);
      cpu_.state.rip =
          cpu_.code64() ? context_->address : static_cast<u32>(context_->address - context_->code_tag);
      return;
    case ExitKind::trap: return trap();
    case ExitKind::stale: {
      auto const& block = cache_->blocks[number];
      take_flags(context_->address != 0);
      cpu_.state.rip = rip_at(*block.page, block.start);
      return;
    }
  }
}

RunExit Translator::leave_settled(ExitKind kind) {
  auto const number = context_->site;
  switch (kind) {
    case ExitKind::link:
    case ExitKind::slot: {
      auto const exit = cache_->exits[number];
      auto const generation = generation_;
      auto const target = find_block(exit.grouped);
      if (target == CodeCache::no_block || generation != generation_) return RunExit::budget;
      next_ = target;
      if (verifier_ != nullptr) return RunExit::budget;
      if (kind == ExitKind::link)
        link(number, target);
      else
        fill_slot(number, target);
      return RunExit::budget;
    }
    case ExitKind::poll:
    case ExitKind::interrupt: ++counters_.polls; return RunExit::budget;
    case ExitKind::indirect: {
      auto const linear = context_->address;  // in 16- and 32-bit code with Context::code_tag
      if (cpu_.code64() && !x86::is_canonical(linear)) return step();
      if (context_->wanted()) return RunExit::budget;
      auto const generation = generation_;
      auto const target = find_block();
      if (target == CodeCache::no_block || generation != generation_) return RunExit::budget;
      next_ = target;
      if (verifier_ == nullptr) fill_jump(linear, target);
      return RunExit::budget;
    }
    case ExitKind::access: ++counters_.slow_accesses; return access(cache_->sites[number]);
    case ExitKind::interpret: {
      auto const& instruction = cache_->interpreted[cache_->sites[number].interpreted];
      auto const operation = instruction.instruction.operation;
      arrived_ = operation == x86::Operation::syscall || operation == x86::Operation::sysret ||
                 operation == x86::Operation::iret;
      return instruction.lowered.handler != nullptr ? execute(instruction) : step();
    }
    case ExitKind::trap: return step();
    case ExitKind::stale: {
      ++counters_.stale;
      auto const generation = generation_;
      auto const target = find_block(cache_->blocks[number].grouped);
      if (verifier_ != nullptr) return RunExit::budget;
      if (target != CodeCache::no_block && generation == generation_) forward_stale(number, target);
      return RunExit::budget;
    }
  }
  return RunExit::budget;
}

/// A page fault is delivered at once: throwing and catching it costs microseconds.
RunExit Translator::access(Site const& site) {
  auto const last = context_->fault_address + site.size - 1;
  if (!site.plain || !x86::is_canonical(context_->fault_address) || !x86::is_canonical(last)) return step();
  auto const fault =
      cpu_.mmu.find_fault(context_->fault_address, site.write ? Access::write : Access::read, cpu_.rights());
  if (!fault) return step();
  if (trace() & trace_exceptions) trace_exception(cpu_, *fault);
  auto const delivery = deliver_event(cpu_, exception_event(*fault));
  return delivery == Delivery::delivered ? RunExit::budget : RunExit::shutdown;
}

void Translator::take_flags(bool saved) {
  auto const flags = saved ? context_->saved_flags() : context_->flags;
  auto& rflags = cpu_.state.rflags;
  rflags = (rflags & ~u64{x86::arithmetic_flags}) | (flags & x86::arithmetic_flags);
}

void Translator::settle(u32 number, bool jumped) {
  auto const& site = cache_->sites[number];
  auto const& block = cache_->blocks[cache_->block_of_site(number)];
  auto& state = cpu_.state;
  take_flags(site.flags() == Saved::all);
  if (site.flags() == Saved::carry) {
    state.rflags = (state.rflags & ~u64{x86::flag_cf}) | (context_->saved_carry() ? 1 : 0);
  }
  if (jumped) state.gpr[x86::rsp] -= static_cast<u64>(i64{site.popped});
  for (auto i = 0u; i < block.loan_count && !site.loans_ended; ++i) {
    auto const& loan = block.loans[i];
    if (loan.has_guest()) state.gpr[loan.guest()] = state.gpr[loan.place()];
    state.gpr[loan.place()] = context_->gpr[loan.place()];
  }
  state.rip = rip_at(*block.page, block.start + site.guest_offset);
}

void Translator::settle_exit(Exit const& exit) {
  auto const& page = *cache_->blocks[exit.block].page;
  take_flags(exit.flags_saved);
  cpu_.state.rip = rip_at(page, exit.target);
}

void Translator::link(u32 number, u32 target) {
  auto const& exit = cache_->exits[number];
  // The same page may have been entered at another address or in another mode meanwhile.
  if (cache_->blocks[target].page != cache_->blocks[exit.block].page) return;
  cache_->link(exit.patch, entry_of(target, exit.flags_saved));
  ++counters_.links;
}

void Translator::fill_slot(u32 number, u32 target) {
  auto const& exit = cache_->exits[number];
  auto& page = *cache_->blocks[target].page;
  auto const linear = cpu_.code_address();
  auto& from = *cache_->blocks[exit.block].page;
  // A forward jump around the end of the address space has not looked whether somebody wants the vCPU.
  if (!cpu_.code64() && exit.target >= 0 && linear < static_cast<u32>(place_of(from))) return;
  set_place(from, place_of(from));
  set_place(page, linear & page_mask);
  // SOUND: an address in executable memory, as a number.
  tables_.set_slot(window_number_, exit.slot, reinterpret_cast<u64>(entry_of(target, exit.flags_saved)));
  note_executed(page, linear);
  ++counters_.slot_fills;
}

void Translator::note_executed(PageCode const& page, u64 linear) {
  cpu_.mmu.note_executed(window_number_, linear);
  if (page.second_host != nullptr) cpu_.mmu.note_executed(window_number_, linear + page_size);
}

void Translator::fill_jump(u64 linear, u32 target) {
  auto& page = *cache_->blocks[target].page;
  set_place(page, cpu_.code_address() & page_mask);
  tables_.set_jump(window_number_, linear, indirect_entry(target));
  note_executed(page, cpu_.code_address());
  ++counters_.jump_fills;
}

// ---- code that changed ----

void Translator::drop_code(std::byte* host) {
  for (auto* const page : host == nullptr ? cache_->all_pages() : cache_->pages_at(host)) {
    drop_page(*page);
  }
}

void Translator::drop_page(PageCode& page) {
  for (auto const block : page.blocks) kill(block);
  page.blocks.clear();
  page.chunks = page.second_chunks = 0;
  page.crossings = 0;
  ++page.invalidations;
}

/// Whoever still jumps to the block comes out.
void Translator::kill(u32 number) {
  auto& block = cache_->blocks[number];
  block.valid = false;
  cache_->forget(number);
  ++counters_.invalidations;
  auto const jump_to = [&](u32 from, u8 const* target) {
    auto out = Emitter{cache_->writable(from), cache_->executable(from), 64};
    out.jmp(target);
  };
  auto const start = block.indirect_entry;
  jump_to(start, trampolines_.exit(ExitKind::indirect));
  if (block.saved_entry != block.entry)
    jump_to(start + block.saved_entry, cache_->executable(start + block.stale_saved_entry));
  jump_to(start + block.entry, cache_->executable(start + block.stale_entry));
}

void Translator::forward_stale(u32 number, u32 target) {
  auto const& old = cache_->blocks[number];
  auto const& fresh = cache_->blocks[target];
  if (fresh.page != old.page) return;
  auto const forward = [&](bool flags_saved) {
    auto const from = old.entry_for(flags_saved);
    auto out = Emitter{cache_->writable(from), cache_->executable(from), 64};
    out.jmp(cache_->executable(fresh.entry_for(flags_saved)));
  };
  if (old.saved_entry != old.entry) {
    forward(true);
    forward(false);
  } else if (fresh.saved_entry == fresh.entry) {
    forward(false);
  }
}

// ---- slow paths and traps ----

void Translator::trap() {
  ++counters_.traps;
  // SOUND: where the host's exception was, in translated code.
  auto const offset = cache_->offset_of(reinterpret_cast<u8 const*>(context_->address));
  auto const number = cache_->block_at(offset);
  for (auto i = cache_->blocks.at(number).first_site; i < cache_->sites_end(number); ++i) {
    auto const& site = cache_->sites[i];
    if (site.traps && site.host_offset == offset) return settle(i);
  }
  auto const& block = cache_->blocks[number];
  VIREO_LOG_GUEST(
      observe::Level::error, "engine",
      "unexpected exception in translated code, {} bytes behind the beginning of block {}, near {:#x}: {:02x}",
      offset - block.indirect_entry, number, rip_at(*block.page, block.start),
      fmt::join(std::span{cache_->executable(offset), 16}, " "));
  std::abort();
}

/// FIP points into translated code when x87 instructions ran there.
void Translator::repair_x87_pointers() {
  auto& extended = cpu_.state.extended;
  // SOUND: compared only.
  auto const* const at = reinterpret_cast<u8 const*>(extended.fip);
  if (!cache_->contains(at)) return;
  auto const offset = cache_->offset_of(at);
  auto const number = cache_->block_at(offset);
  extended.fip = 0;
  if (!host_keeps_x87_data_pointer()) extended.fdp = 0;
  if (number == CodeCache::no_block) return;
  auto const& block = cache_->blocks[number];
  auto guest = block.start;
  for (auto i = block.first_site; i < cache_->sites_end(number); ++i) {
    auto const& site = cache_->sites[i];
    if (site.traps && site.host_offset <= offset) guest = static_cast<u16>(block.start + site.guest_offset);
  }
  extended.fip = rip_at(*block.page, guest);
}

}  // namespace vireo::engine::soft::translate
