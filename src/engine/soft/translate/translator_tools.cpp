#include <fmt/format.h>

#include <algorithm>
#include <cstdio>

#include "engine/soft/interp/trace.h"
#include "engine/soft/translate/trace.h"
#include "engine/soft/translate/translator.h"
#include "x86/table.h"

// What shows and checks the translator's work.
namespace vireo::engine::soft::translate {

std::span<u8> Translator::host_code(Block const& block) {
  return {cache_->writable(block.indirect_entry), block.code_size};
}

bool Translator::verified(ExitKind kind) {
  auto const& block = cache_->blocks[entered_];
  auto const same = verifier_->check({.block = &block,
                                      .number = entered_,
                                      .mode = mode(),
                                      .features = this,
                                      .kind = kind,
                                      .saved_flags_entry = entries_ % 2 == 0,
                                      .host_code = host_code(block)});
  if (!same) std::fputs(verifier_->report().c_str(), stderr);
  return same;
}

void Translator::show_block(Block const& block, u64 linear) {
  std::fputs(fmt::format("[{}] block {} at {:#x}{}: {} bytes, host {} bytes at {}\n{}", cpu_.id().value,
                         cache_->blocks.size() - 1, linear, block.grouped ? "" : " without groups",
                         block.length, block.code_size, fmt::ptr(cache_->executable(block.indirect_entry)),
                         guest_text(block, linear, mode()))
                 .c_str(),
             stderr);
}

void Translator::show_exit(ExitKind kind) {
  auto text = std::string{};
  if (trace() & trace_tlb) {
    for (auto i = 0u; i < std::min<std::size_t>(miss_count_, misses_.size()); ++i) {
      text += fmt::format("[{}] tlb miss {:#x} {}\n", cpu_.id().value, misses_[i].linear,
                          misses_[i].write ? "write" : "read");
    }
    if (miss_count_ > misses_.size()) {
      text += fmt::format("[{}] tlb misses not shown: {}\n", cpu_.id().value, miss_count_ - misses_.size());
    }
    miss_count_ = 0;
  }
  if (trace() & trace_exits) {
    text += fmt::format("[{}] exit {} at {:#x}\n", cpu_.id().value, name(kind), cpu_.state.rip);
    if (trace() & trace_registers) text += registers_text(cpu_.state);
  }
  std::fputs(text.c_str(), stderr);
}

void Translator::append_counters(std::vector<Counter>& to) const {
  auto const& c = counters_;
  auto const add = [&](std::string_view what, u64 value) {
    to.push_back({fmt::format("translator.{}", what), value});
  };
  add("blocks", c.translations);
  add("guest_bytes", c.guest_bytes);
  add("code_cache.used", cache_->used());
  add("code_cache.size", cache_->capacity());
  add("code_cache.drops", c.flushes);
  add("code_cache.with_notes", cache_->footprint());
  add("code_cache.dead", cache_->dead());
  add("code_cache.longest_drop_ns", c.longest_drop_ns);
  add("links", c.links);
  add("slot_fills", c.slot_fills);
  add("jump_fills", c.jump_fills);
  add("jumps_found", c.jumps_found);
  add("slots_found", c.slots_found);
  add("tlb_refills", c.refills);
  add("invalidated_blocks", c.invalidations);
  add("untranslated_crossings", c.crossings);
  for (auto kind = u32{0}; kind < exit_kinds; ++kind) {
    add(fmt::format("exits.{}", name(static_cast<ExitKind>(kind))), c.exits[kind]);
  }
  for (auto window = u8{0}; window < Windows::count; ++window) {
    add(fmt::format("windows_cleared.{}", window), c.windows_cleared[window]);
  }
  add("interpreted", c.interpreted);
  auto order = std::vector<u32>{};
  for (auto i = u32{0}; i < x86::operation_count; ++i) {
    if (c.interpreted_by_operation[i] != 0) order.push_back(i);
  }
  std::ranges::sort(order, std::ranges::greater{}, [&](u32 i) { return c.interpreted_by_operation[i]; });
  for (auto const i : order) {
    add(fmt::format("interpreted.{}", x86::name(static_cast<x86::Operation>(i))),
        c.interpreted_by_operation[i]);
  }
  if (verifier_) add("verified_stretches", verifier_->stretches());
}

}  // namespace vireo::engine::soft::translate
