#include <fmt/format.h>

#include <algorithm>

#include "image/blocks/block_mapped_image.h"
#include "image/blocks/sector_bitmap.h"
#include "image/check_range.h"
#include "vocab/numbers.h"

namespace vireo::image::blocks {
namespace {

constexpr u64 copy_chunk{1 * MiB};

bool all_zero(ConstBytes bytes) {
  return std::ranges::all_of(bytes, [](std::byte byte) { return byte == std::byte{0}; });
}

}  // namespace

Result<> BlockMappedImage::check_write(u64 at, u64 length) const {
  return storage_.check_write(at, length, shape_.bytes);
}

Result<> BlockMappedImage::finish_write() { return syncs_each_write(storage_.cache()) ? flush() : Result<>{}; }

Result<> BlockMappedImage::begin_write() {
  auto lock = Lock{mutex_};
  if (!changed_) TRY(layout_->begin_changes(storage_));
  changed_ = true;
  auto const crowded = table_.crowded() || bitmaps_.crowded();
  lock.unlock();
  return crowded ? flush() : Result<>{};
}

Result<> BlockMappedImage::write(u64 at, ConstBytes from) {
  TRY(check_write(at, from.size()));
  return write_all(at, {.bytes = from, .length = from.size()});
}

Result<> BlockMappedImage::write_zeroes(u64 at, u64 length, bool may_unmap) {
  TRY(check_write(at, length));
  return write_all(at, {.length = length, .zeroes = true, .may_unmap = may_unmap});
}

Result<> BlockMappedImage::write_all(u64 at, Source source) {
  TRY(begin_write());
  for (auto steps = 1u; source.length != 0; ++steps) {
    if (steps % 64 == 0) TRY(begin_write());  // a long range alone can fill the caches
    auto const done = TRY(write_some(at, source));
    source = source.part(done, source.length - done);
    at += done;
  }
  return finish_write();
}

Result<> BlockMappedImage::discard(u64 at, u64 length) {
  TRY(check_write(at, length));
  TRY(begin_write());
  for (auto steps = 1u; length != 0; ++steps) {
    if (steps % 64 == 0) TRY(begin_write());
    auto const done = TRY(clear_some(at, length));
    at += done;
    length -= done;
  }
  return {};
}

/// The last block of the disk may reach over its end.
bool BlockMappedImage::covers_block(u64 at, u64 length) const {
  return at % shape_.block == 0 && (length >= shape_.block || at + length == shape_.bytes);
}

/// Where this format cannot say "zero", what comes from the parent stays as it is: a discard is a hint.
Result<u64> BlockMappedImage::clear_some(u64 at, u64 length) {
  auto lock = Lock{mutex_};
  auto const number = at / shape_.block;
  settled_.wait(lock, [&] { return !busy_.contains(number); });
  auto const run = TRY(find_run(at, length));
  if (run.kind == Kind::data) {
    lock.unlock();
    TRY(storage_.discard(run.file_at, run.length));
  } else if (run.kind == Kind::absent && !below_is_zero(at) && shape_.zero_entries &&
             covers_block(at, run.length)) {
    TRY(set_block(number, {.kind = Kind::zero}));
  }
  return run.length;
}

Result<u64> BlockMappedImage::write_some(u64 at, Source const& source) {
  auto lock = Lock{mutex_};
  auto const number = at / shape_.block;
  settled_.wait(lock, [&] { return !busy_.contains(number); });
  auto const run = TRY(find_run(at, source.length));
  if (run.kind == Kind::data) {
    lock.unlock();
    TRY(store(run.file_at, source.part(0, run.length)));
    return run.length;
  }
  if (source.zeroes && (run.kind == Kind::zero || below_is_zero(at))) return run.length;
  if (source.zeroes && shape_.zero_entries && covers_block(at, run.length)) {
    TRY(set_block(number, {.kind = Kind::zero}));
    return run.length;
  }
  TRY(write_absent(lock, at, source.part(0, run.length), run));
  return run.length;
}

Result<Layout::NewBlock> BlockMappedImage::take_new_block() {
  if (unused_.empty()) return layout_->append(storage_);
  auto const place = unused_.back();
  unused_.pop_back();
  return Layout::NewBlock{.place = place, .zeroed = false};
}

/// To a block without a place, or to sectors that its bitmap does not have. Others wait for the block
/// meanwhile.
Result<> BlockMappedImage::write_absent(Lock& lock, u64 at, Source const& source, Run const& run) {
  auto const number = at / shape_.block;
  auto const is_new = run.block.kind != Kind::data;
  auto const fresh = is_new ? TRY(take_new_block()) : Layout::NewBlock{.place = run.block.place};
  busy_.insert(number);
  lock.unlock();
  auto const by_sector = shape_.bitmap != 0 && !(is_new && shape_.bitmap_starts_full);
  auto const filled = [&]() -> Result<> {
    if (is_new) TRY(begin_block(fresh));
    return by_sector ? fill_sectors(fresh.place, at, source) : fill_block(fresh, at, source, run.kind);
  }();
  lock.lock();
  busy_.erase(number);
  settled_.notify_all();
  if (!filled) {
    if (is_new) unused_.push_back(fresh.place);
    return filled;
  }
  auto const block = Block{.kind = Kind::data, .place = fresh.place};
  if (is_new) TRY(set_block(number, block));
  if (!by_sector) return {};
  auto* const bitmap = TRY(bitmap_of(number, block));
  auto const first = at % shape_.block / sector;
  auto const last = (at % shape_.block + source.length - 1) / sector;
  auto const changed = bitmaps_.change(*bitmap, first / 8, last / 8 - first / 8 + 1);
  mark_present(changed, first % 8, last - first + 1);
  return {};
}

/// The bitmap, where there is one.
Result<> BlockMappedImage::begin_block(Layout::NewBlock const& fresh) {
  if (shape_.bitmap == 0) return {};
  auto const fill = shape_.bitmap_starts_full ? std::byte{0xff} : std::byte{0};
  return storage_.write(fresh.place - shape_.bitmap, std::vector<std::byte>(shape_.bitmap, fill));
}

/// All of a new block.
Result<> BlockMappedImage::fill_block(Layout::NewBlock const& fresh, u64 at, Source const& source,
                                      Kind before) {
  if (!fresh.zeroed) TRY(storage_.write_zeroes(fresh.place, shape_.block, false));
  auto const start = align_down(at, shape_.block);
  auto const end = std::min(start + shape_.block, shape_.bytes);
  if (before == Kind::absent) {
    TRY(copy_from_parent(fresh.place, start, at));
    TRY(copy_from_parent(fresh.place + (at + source.length - start), at + source.length, end));
  }
  return source.zeroes ? Result<>{} : storage_.write(fresh.place + (at - start), source.bytes);
}

/// Whole sectors around the range, which lies in sectors that are absent up to now.
Result<> BlockMappedImage::fill_sectors(u64 block_place, u64 at, Source const& source) {
  auto const start = align_down(at, sector);
  auto const end = align_up(at + source.length, sector);
  auto const place_of = [&](u64 where) { return block_place + where % shape_.block; };
  auto edge = std::vector<std::byte>(sector);
  if (start != at || end != at + source.length) {
    TRY(read_parent(start, edge));
    TRY(storage_.write(place_of(start), edge));
    TRY(read_parent(end - sector, edge));
    TRY(storage_.write(place_of(end - sector), edge));
  }
  return store(place_of(at), source);
}

/// Into a place that reads as zeroes.
Result<> BlockMappedImage::copy_from_parent(u64 place, u64 at, u64 end) {
  end = std::min(end, parent_bytes_);
  auto bytes = std::vector<std::byte>(end > at ? std::min(copy_chunk, end - at) : 0);
  while (at < end) {
    auto const part = Bytes{bytes}.first(std::min<u64>(bytes.size(), end - at));
    TRY(parent_->read(at, part));
    if (!all_zero(part)) TRY(storage_.write(place, part));
    at += part.size();
    place += part.size();
  }
  return {};
}

Result<> BlockMappedImage::store(u64 place, Source const& source) {
  return source.zeroes ? storage_.write_zeroes(place, source.length, source.may_unmap)
                       : storage_.write(place, source.bytes);
}

}  // namespace vireo::image::blocks
