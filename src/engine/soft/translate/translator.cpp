#include "engine/soft/translate/translator.h"

#include <sys/mman.h>

#include <algorithm>
#include <chrono>
#include <cstring>

#include "engine/soft/interp/lower.h"
#include "engine/soft/interp/system/event.h"
#include "engine/soft/interp/trace.h"
#include "engine/soft/interp/vector/enables.h"
#include "engine/soft/translate/host.h"
#include "x86/host_cpu.h"
#include "x86/table.h"

namespace vireo::engine::soft::translate {

namespace {

constexpr u32 worst_block{64 * 1024};
constexpr u64 stack_bytes{256 * 1024};
constexpr u64 page_mask{~u64{0xfff}};
constexpr u64 user_half{u64{1} << 47};

/// Accesses through segments need more room in the generator.
u32 most_items(CodeMode const& mode) { return mode.code64() ? Region::max_items : 40; }

bool needs_care(VcpuState const& state) {
  return (state.rflags & (x86::flag_tf | x86::flag_rf)) || (state.dr7 & 0xff) || state.interrupt_shadow;
}

/// Gives the same result when it runs again.
bool repeatable(x86::Operation operation) {
  using enum x86::Operation;
  auto const changes_rights = operation == stac || operation == clac;
  return !changes_rights && operation != rdtsc && operation != rdtscp && operation != rdrand &&
         operation != rdseed;
}

/// Nobody wrote between the first look and the watch.
bool still_there(Region const& region, u8 const* bytes) {
  return std::ranges::all_of(region.all(), [&](auto const& item) {
    return std::memcmp(item.insn.bytes.data(), bytes + item.offset, item.insn.length) == 0;
  });
}

}  // namespace

/// The host's stack for slow paths, with the context at its top.
struct Translator::Stack {
  std::byte* memory{};
  Context* context{};

  Stack() {
    // SOUND: fresh private memory; the context lies in its last bytes, aligned as it asks.
    auto* const mapped = mmap(nullptr, stack_bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (mapped == MAP_FAILED) throw std::bad_alloc{};
    memory = static_cast<std::byte*>(mapped);
    context = new (memory + stack_bytes - sizeof(Context)) Context{};
  }
  ~Stack() { munmap(memory, stack_bytes); }
  Stack(Stack const&) = delete;
  Stack& operator=(Stack const&) = delete;
};

Result<std::unique_ptr<Translator>> Translator::create(Cpu& cpu, u32 cache_bytes) {
  auto cache = TRY(CodeCache::create(std::max(cache_bytes, 16 * worst_block)));
  return std::unique_ptr<Translator>{new Translator{cpu, std::move(cache)}};
}

Translator::Translator(Cpu& cpu, std::unique_ptr<CodeCache> cache)
    : cpu_{cpu},
      cache_{std::move(cache)},
      stack_{std::make_unique<Stack>()},
      context_{stack_->context},
      trampolines_{write_trampolines(*cache_,
                                     {.refill = refill,
                                      .set_access = set_access,
                                      .find_jump = find_jump,
                                      .find_slot = find_slot,
                                      .repeat_string = repeat_string,
                                      .system_call = system_call,
                                      .system_return = system_return,
                                      .interrupt_return = interrupt_return},
                                     host_has_avx())},
      region_{std::make_unique<Region>()},
      tables_{cpu.mmu} {
  context_->guest = cpu_.state.gpr.data();
  context_->extended = &cpu_.state.extended;
  context_->translator = this;
  context_->jump_mask = JumpTables::jump_mask;
  // SOUND: addresses in executable memory, as numbers.
  tables_.begin(reinterpret_cast<u64>(trampolines_.find_jump), reinterpret_cast<u64>(trampolines_.find_slot));
  cpu_.mmu.set_observer(this);
  cpu_.poll_words = {&context_->poll, &context_->jump_mask};
}

Translator::~Translator() {
  leave_host_thread(this);
  cpu_.mmu.set_observer(nullptr);
  cpu_.poll_words = {};
}

void Translator::forget_all() {
  clear_cache();
  interpreter_.forget_all();
}

// ---- the loop ----

bool Translator::translatable() const {
  return !cpu_.checks_alignment() && (cpu_.code64() || legacy_translatable());
}

CodeMode Translator::mode() const {
  auto const& state = cpu_.state;
  auto const usable = (state.cr0 & (x86::cr0_em | x86::cr0_ts)) == 0;
  // With an x87 exception unmasked the processor notes opcode and address: the interpreter does that right.
  auto const masked = (state.extended.fcw & 0x3f) == 0x3f;
  auto const sse = usable && (state.cr4 & x86::cr4_osfxsr);
  auto const avx = sse && (state.cr4 & x86::cr4_osxsave) &&
                   (state.xcr0 & vector::xcr0_avx) == vector::xcr0_avx && host_has_avx();
  auto result = CodeMode{.code_size = cpu_.code_size(),
                         .sse = sse,
                         .avx = avx,
                         .x87 = usable && masked,
                         .supervisor = cpu_.cpl() == 0,
                         .tsc = !(state.cr4 & x86::cr4_tsd)};
  if (!cpu_.code64()) complete_legacy(result);
  return result;
}

RunExit Translator::run(Cpu& cpu, u32 max_exits) {
  next_ = CodeCache::no_block;
  prepare_host_thread(this);
  for (auto left = max_exits; left > 0; --left) {
    if (cpu.state.activity != Activity::running) return RunExit::idle;
    if (needs_care(cpu.state) || !translatable()) {
      next_ = CodeCache::no_block;
      auto const exit = interpreter_.run(cpu, needs_care(cpu.state) ? 1 : 50);
      if (exit != RunExit::budget) return exit;
      continue;
    }
    if (context_->wanted()) {
      // SOUND: a full barrier between taking the request back and looking what it was.
      __atomic_exchange_n(&context_->poll, 0, __ATOMIC_SEQ_CST);
      __atomic_exchange_n(&context_->jump_mask, JumpTables::jump_mask, __ATOMIC_SEQ_CST);
    }
    if (cpu.attention.load(std::memory_order_acquire) != 0) return RunExit::attention;
    auto const block = next_ != CodeCache::no_block ? next_ : find_block();
    next_ = CodeCache::no_block;
    if (block == CodeCache::no_block) {
      ++counters_.crossings;
      auto const exit = interpreter_.step(cpu);
      if (exit != RunExit::budget) return exit;
      continue;
    }
    enter(block);
    if (arrived_ && cpu.code64() && verifier_ == nullptr) fill_jump(cpu.state.rip, block);
    arrived_ = false;
    auto const exit = leave(static_cast<ExitKind>(trampolines_.enter(context_)));
    if (exit != RunExit::budget) return exit;
  }
  return cpu.state.activity != Activity::running ? RunExit::idle : RunExit::budget;
}

void Translator::enter(u32 block) {
  auto const& state = cpu_.state;
  auto const& of = cache_->blocks[block];
  auto const window = cpu_.mmu.window(cpu_.rights());
  window_number_ = window;
  auto const key = CodeMode::window_key(of.page->mode);
  tables_.prepare(window, key);
  if (window == Windows::supervisor) tables_.prepare(Windows::supervisor_ac, key);
  set_window_base(&cpu_.mmu.window_at(window));
  set_place(*of.page, cpu_.code_address() & page_mask);
  context_->tsc_offset = cpu_.machine_tsc_offset + state.tsc_offset;
  context_->interrupt_waits =
      !(state.rflags & x86::flag_if) && cpu_.apic != nullptr && cpu_.apic->interrupt_pending() ? 1 : 0;
  mode_ = of.page->mode;
  context_->fs_base = state.seg(x86::SegmentRegister::fs).base;
  context_->gs_base = state.seg(x86::SegmentRegister::gs).base;
  if (!cpu_.code64()) enter_legacy(of.page->mode);
  context_->entry_flags = Context::flags_for_sahf(state.rflags);
  auto const with_saved_flags = verifier_ != nullptr && ++entries_ % 2 == 0;
  // SOUND: an address in executable memory, as a number.
  context_->target = reinterpret_cast<u64>(cache_->executable(of.entry_for(with_saved_flags)));
  if (verifier_ == nullptr) [[likely]]
    return;
  entered_ = block;
  context_->save_flags(state.rflags);
  verifier_->begin();
}

RunExit Translator::step() {
  ++counters_.interpreted;
  return interpreter_.step(cpu_);
}

GenericInstruction Translator::lowered(x86::Instruction const& insn) {
  auto copy = insn;
  auto const lowered = lower(cpu_, copy);
  return {lowered, copy};
}

/// As Interpreter::step, for an instruction that is decoded already and needs no care.
RunExit Translator::execute(GenericInstruction const& what) {
  ++counters_.interpreted;
  ++counters_.interpreted_by_operation[static_cast<u32>(what.instruction.operation)];
  ++cpu_.instructions;
  auto& state = cpu_.state;
  cpu_.code_page_host = nullptr;
  state.rip += what.instruction.length;
  try {
    what.lowered.handler(cpu_, what.instruction, what.lowered.extra);
    if (!cpu_.code64()) state.rip = static_cast<u32>(state.rip);
  } catch (Fault const& fault) {
    state.rip -= what.instruction.length;
    if (trace() & trace_exceptions) trace_exception(cpu_, fault);
    if (deliver_event(cpu_, exception_event(fault)) != Delivery::delivered) return RunExit::shutdown;
  }
  return RunExit::budget;
}

// ---- finding and making blocks ----

/// The block at RIP, translated when it is new. no_block: the interpreter must take the next instruction.
u32 Translator::find_block(bool grouped) {
  auto const linear = cpu_.code_address();
  if (code_left() == 0) return CodeCache::no_block;
  auto const rights = cpu_.cpl() == 3 ? Rights::user : Rights::supervisor;
  auto const& entry = cpu_.mmu.entry(rights, linear);
  if (!in_page(entry.execute, linear, 1) && cpu_.mmu.refill(linear, 1, Access::execute, rights) == nullptr) {
    return CodeCache::no_block;
  }
  // SOUND: a page of guest memory, named by its address.
  auto* const host = reinterpret_cast<std::byte*>(cpu_.mmu.entry(rights, linear).page);
  auto const code_mode = mode();
  auto const key = code_mode.key();
  auto const segmented = !code_mode.code64() && !code_mode.flat_code;
  auto const pointer = segmented ? static_cast<i64>(cpu_.state.rip) - static_cast<i64>(linear & 0xfff) : 0;
  auto const limit = segmented ? cpu_.state.cs().limit : 0;
  auto const relative = linear < user_half;
  auto const page_linear = linear & page_mask;
  auto& recent = recent_[(page_linear >> 12) % recent_.size()];
  auto const known = recent.page != nullptr && recent.linear == page_linear && recent.page->host == host &&
                     recent.page->mode == key && recent.page->pointer == pointer && recent.page->limit == limit;
  if (!known) {
    recent = {page_linear, &cache_->page(host, page_linear, key, relative, nullptr, pointer, limit)};
  }
  auto const offset = static_cast<u16>(linear & 0xfff);
  auto& page = *recent.page;
  auto const block = cache_->find(page, offset, grouped);
  if (block != CodeCache::no_block) return block;
  return page.crosses_at(offset) ? find_crossing(page, linear) : translate(page, offset, grouped);
}

/// Also when most of it is code that has changed: a guest that makes code for ever shall not fill it.
bool Translator::nearly_full() const {
  constexpr auto slot_bytes = u64{40};  // of a node of the map
  return cache_->footprint() + slots_.size() * slot_bytes + worst_block > cache_->capacity() ||
         (cache_->dead() > cache_->capacity() / 8 && cache_->dead() > cache_->used() / 2) ||
         tables_.slots_left() < Region::max_items * 2;
}

u32 Translator::translate(PageCode& page, u16 offset, bool grouped) {
  if (nearly_full()) {
    clear_cache();
    return find_block(grouped);
  }
  // SOUND: the page's bytes as u8.
  auto const* const bytes = reinterpret_cast<u8 const*>(page.host);
  auto& region = *region_;
  auto const code_mode = mode();
  auto const in_page = page_size - offset;
  auto const allowed = code_left();
  auto const code = GuestCode{{bytes, offset + std::min<u64>(in_page, allowed)}, offset};
  do {
    analyse(code, code_mode, *this, region, most_items(code_mode));
    auto const looked_sum = region.looked_sum;
    auto const own = CodePages::chunks_of(offset, std::max<u32>(region.length, 1));
    auto const fresh = note_code(page, page.host, own | region.looked_at);
    if (fresh) find_flag_needs(code, code_mode, *this, region);
    if (region.looked_sum == looked_sum && still_there(region, bytes + offset)) break;
  } while (true);
  if (region.count == 0) {
    if (allowed <= in_page) return CodeCache::no_block;
    page.note_crossing(offset);
    return find_crossing(page, cpu_.code_address());
  }
  find_moving_groups(region);
  if (grouped)
    find_groups(region);
  else
    region.forget_groups();
  return generate(page, offset, grouped);
}

/// The one instruction at `linear` that goes on in the next page.
u32 Translator::find_crossing(PageCode& page, u64 linear) {
  auto const offset = static_cast<u16>(linear & 0xfff);
  auto const beyond = (linear & page_mask) + page_size;
  auto const next = cpu_.code64() ? beyond : static_cast<u32>(beyond);
  auto const rights = cpu_.cpl() == 3 ? Rights::user : Rights::supervisor;
  auto* const second = cpu_.mmu.refill(next, 1, Access::execute, rights);
  if (second == nullptr) return CodeCache::no_block;
  auto& pair = cache_->page(page.host, page.linear, page.mode, page.relative, second, page.pointer, page.limit);
  auto const known = cache_->find(pair, offset, true);
  if (known != CodeCache::no_block) return known;
  if (nearly_full()) {
    clear_cache();
    return find_block();
  }
  auto bytes = std::array<u8, 15>{};
  auto const in_first = page_size - offset;
  auto& region = *region_;
  auto const chunks = CodePages::chunks_of(offset, in_first);
  do {
    note_code(pair, page.host, chunks);
    note_code(pair, second, 1);  // may drop what was noted of the first
  } while ((pair.chunks & chunks) != chunks);
  std::memcpy(bytes.data(), page.host + offset, in_first);
  std::memcpy(bytes.data() + in_first, second, bytes.size() - in_first);
  auto const code = GuestCode{{bytes.data(), std::min<u64>(bytes.size(), code_left())}, 0, false};
  analyse(code, mode(), *this, region, 1);
  return region.count == 0 ? CodeCache::no_block : generate(pair, offset, true);
}

/// Host code for region_.
u32 Translator::generate(PageCode& page, u16 offset, bool grouped) {
  auto const number = static_cast<u32>(cache_->blocks.size());
  if (page.relative && page.slot == 0) page.slot = tables_.new_slot();
  cache_->blocks.push_back({.page = &page, .start = offset, .length = region_->length, .grouped = grouped});
  auto out = Emitter{cache_->writable(cache_->used()), cache_->executable(cache_->used()),
                     cache_->capacity() - cache_->used()};
  auto generator = Generator{out, *cache_, trampolines_, *this, *this, *region_, mode(), number};
  generator.run();
  cache_->take((cache_->used() + out.size() + 15) & ~15u);
  cache_->insert(number);
  page.blocks.push_back(number);
  ++counters_.translations;
  counters_.guest_bytes += region_->length;
  auto const& block = cache_->blocks[number];
  if (trace() & trace_blocks) show_block(block, cpu_.state.rip);
  perf_map_.add(cache_->executable(block.indirect_entry), block.code_size, cpu_.state.rip);
  if (new_block_seen_) new_block_seen_(block, host_code(block));
  return number;
}

/// From now on stores into these bytes are noticed. False: they were before.
bool Translator::note_code(PageCode& page, std::byte* host, u64 chunks) {
  auto& watched = host == page.host ? page.chunks : page.second_chunks;
  if ((watched & chunks) == chunks) return false;
  watched |= chunks;
  cpu_.watch_code(host, chunks);
  return true;
}

u32 Translator::slot_for(PageCode const& page, i64 target, bool flags_saved) {
  auto const key = u64{page.number} << 33 ^ static_cast<u64>(target) << 1 ^ (flags_saved ? 1u : 0u);
  auto const [at, fresh] = slots_.try_emplace(key, 0);
  if (fresh) at->second = tables_.new_slot();
  return at->second;
}

bool Translator::offered(x86::Instruction const& insn) const {
  if (verifier_ != nullptr && !repeatable(insn.operation)) return false;
  auto const& row = x86::row_of(insn);
  auto const has = [&](x86::Feature feature) { return feature == x86::Feature::always || cpu_.has(feature); };
  return has(row.feature) && has(row.second_feature);
}

void Translator::clear_cache() {
  auto const began = std::chrono::steady_clock::now();
  next_ = CodeCache::no_block;
  ++generation_;
  ++counters_.flushes;
  tables_.forget_all();
  cache_->clear(trampolines_.end);
  recent_ = {};
  slots_ = {};
  code_tags_.clear();
  auto const took = std::chrono::steady_clock::now() - began;
  counters_.longest_drop_ns =
      std::max(counters_.longest_drop_ns,
               static_cast<u64>(std::chrono::duration_cast<std::chrono::nanoseconds>(took).count()));
}

// ---- windows ----

void Translator::mappings_changed(u8 window) noexcept {
  ++counters_.windows_cleared[window];
  tables_.clear_if_ready(window);
  if (window == Windows::supervisor) tables_.clear_if_ready(Windows::supervisor_ac);
}

void Translator::set_place(PageCode& page, u64 linear) {
  if (tables_.runs_at(window_number_, page, linear)) return;
  tables_.clear(window_number_);
  tables_.runs_at(window_number_, page, linear);
}

}  // namespace vireo::engine::soft::translate
