#include "engine/soft/translate/code_cache.h"

#include <sys/mman.h>

#include <algorithm>
#include <cstring>

#include "vocab/bytes.h"
#include "vocab/numbers.h"

namespace vireo::engine::soft::translate {

namespace {
constexpr u32 first_table_size{1u << 14};
}

Result<std::unique_ptr<CodeCache>> CodeCache::create(u32 capacity) {
  // Shared memory without a name: perf looks into its map of names only for what has no file.
  // SOUND: a fresh mapping, and a second one of the same pages, known to nobody else.
  auto* const writable = mmap(nullptr, capacity, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
  if (writable == MAP_FAILED) return fail(Errc::no_space, "no space for translated code");
  auto* const executable = mremap(writable, 0, capacity, MREMAP_MAYMOVE);
  if (executable == MAP_FAILED || mprotect(executable, capacity, PROT_READ | PROT_EXEC) != 0) {
    munmap(writable, capacity);
    if (executable != MAP_FAILED) munmap(executable, capacity);
    return fail(Errc::no_space, "the host refuses executable memory");
  }
  return std::unique_ptr<CodeCache>{
      new CodeCache{static_cast<u8*>(writable), static_cast<u8*>(executable), capacity}};
}

CodeCache::CodeCache(u8* writable, u8* executable, u32 capacity)
    : writable_{writable}, executable_{executable}, capacity_{capacity}, table_(first_table_size) {}

CodeCache::~CodeCache() {
  munmap(writable_, capacity_);
  munmap(executable_, capacity_);
}

void CodeCache::link(u32 patch, u8 const* target) {
  auto const distance = static_cast<i32>(target - (executable_ + patch + 4));
  // SOUND: the vCPU's own thread writes, and it executes nothing of this meanwhile.
  std::memcpy(writable_ + patch, &distance, sizeof distance);
}

void CodeCache::clear(u32 keep) {
  auto const first = (u64{keep} + page_size - 1) & ~u64{page_size - 1};
  // SOUND: whole pages of our own mapping, behind what stays. Where this fails they keep their memory.
  if (used_ > first) madvise(writable_ + first, capacity_ - first, MADV_REMOVE);
  used_ = keep;
  dead_ = 0;
  blocks = {};
  sites = {};
  exits = {};
  marks_ = {};
  interpreted = {};
  interpreted_by_bytes_ = {};
  table_ = std::vector<Entry>(first_table_size);
  filled_ = 0;
  pages_.clear();
  by_host_ = {};
}

u64 CodeCache::footprint() const {
  constexpr auto page_bytes = sizeof(PageCode) + 8 * sizeof(void*);  // with its places in lists
  return used_ + blocks.size() * (sizeof(Block) + sizeof(u32)) + sites.size() * sizeof(Site) +
         exits.size() * sizeof(Exit) + marks_.size() * sizeof(u32) + table_.size() * sizeof(Entry) +
         interpreted.size() * (sizeof(GenericInstruction) + 4 * sizeof(void*)) + pages_.size() * page_bytes;
}

PageCode& CodeCache::page(std::byte* host, u64 linear, u16 mode, bool relative, std::byte* second_host,
                          i64 pointer, u32 limit) {
  auto const [from, to] = by_host_.equal_range(host);
  for (auto at = from; at != to; ++at) {
    auto& known = *at->second;
    if (known.host == host && known.mode == mode && known.relative == relative &&
        known.second_host == second_host && (relative || known.linear == linear) && known.pointer == pointer &&
        known.limit == limit) {
      return known;
    }
  }
  pages_.push_back(std::make_unique<PageCode>());
  auto& page = *pages_.back();
  page.host = host;
  page.linear = linear;
  page.mode = mode;
  page.relative = relative;
  page.second_host = second_host;
  page.pointer = pointer;
  page.limit = limit;
  page.number = static_cast<u32>(pages_.size() - 1);
  by_host_.emplace(host, &page);
  if (second_host != nullptr) by_host_.emplace(second_host, &page);
  return page;
}

std::vector<PageCode*> CodeCache::pages_at(std::byte* host) {
  auto found = std::vector<PageCode*>{};
  auto const [from, to] = by_host_.equal_range(host);
  for (auto at = from; at != to; ++at) found.push_back(at->second);
  return found;
}

std::vector<PageCode*> CodeCache::all_pages() {
  auto all = std::vector<PageCode*>{};
  for (auto const& page : pages_) all.push_back(page.get());
  return all;
}

// ---- blocks by page and offset ----

void CodeCache::put(Entry entry) {
  auto const mask = table_.size() - 1;
  auto at = std::size_t{entry.hash};
  while (table_[at & mask].hash != 0 && table_[at & mask].block != no_block) ++at;
  filled_ += table_[at & mask].hash == 0 ? 1 : 0;
  table_[at & mask] = entry;
}

void CodeCache::insert(u32 block) {
  if ((filled_ + 1) * 2 > table_.size()) grow();
  put({hash(key_of(blocks[block])), block});
}

void CodeCache::forget(u32 block) {
  dead_ += blocks[block].code_size;
  auto const wanted = hash(key_of(blocks[block]));
  auto const mask = table_.size() - 1;
  for (auto at = std::size_t{wanted};; ++at) {
    auto& entry = table_[at & mask];
    if (entry.hash == 0) return;
    if (entry.block == block) {
      entry.block = no_block;
      return;
    }
  }
}

/// Or only throws out what was forgotten.
void CodeCache::grow() {
  auto const old = std::move(table_);
  auto const live =
      static_cast<std::size_t>(std::ranges::count_if(old, [](Entry const& entry) { return entry.live(); }));
  table_.assign((live + 1) * 4 > old.size() ? old.size() * 2 : old.size(), {});
  filled_ = 0;
  for (auto const& entry : old) {
    if (entry.live()) put(entry);
  }
}

// ---- notes ----

u32 CodeCache::add_site(Site const& site) {
  if (sites.size() % sites_per_mark == 0) marks_.push_back(static_cast<u32>(blocks.size() - 1));
  sites.push_back(site);
  return static_cast<u32>(sites.size() - 1);
}

u32 CodeCache::add_interpreted(GenericInstruction const& instruction) {
  auto const& insn = instruction.instruction;
  auto const key =
      load_le<u64>(insn.bytes.data()) * 0x9e37'79b9'7f4a'7c15 ^ load_le<u64>(insn.bytes.data() + 8);
  auto const number = static_cast<u32>(interpreted.size());
  auto const [at, fresh] = interpreted_by_bytes_.try_emplace(key, number);
  if (!fresh) {
    auto const& known = interpreted[at->second];
    auto const same = known.instruction.bytes == insn.bytes && known.instruction.length == insn.length &&
                      known.instruction.code_size == insn.code_size && known.instruction.row == insn.row &&
                      known.lowered.handler == instruction.lowered.handler &&
                      known.lowered.extra == instruction.lowered.extra;
    if (same) return at->second;
  }
  interpreted.push_back(instruction);
  return number;
}

u32 CodeCache::block_at(u32 offset) const {
  auto const after = std::ranges::upper_bound(blocks, offset, {}, &Block::indirect_entry);
  if (after == blocks.begin()) return no_block;
  auto const number = static_cast<u32>(after - blocks.begin() - 1);
  return offset < blocks[number].code_end() ? number : no_block;
}

}  // namespace vireo::engine::soft::translate
