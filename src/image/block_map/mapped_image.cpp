#include "image/block_map/mapped_image.h"

#include <fmt/format.h>

#include <algorithm>

#include "image/check_range.h"
#include "observe/log.h"
#include "vocab/numbers.h"

namespace vireo::image::block_map {
namespace {

constexpr int most_blocks_looked_at{65536};

u64 bytes_below(Below const& below, u64 bytes) {
  auto const there = below.image ? below.image->geometry().bytes : 0;
  return there > below.start ? std::min(there - below.start, bytes) : 0;
}

}  // namespace

MappedImage::MappedImage(std::shared_ptr<Storage const> storage, std::unique_ptr<BlockMap> map,
                         Shape const& shape, Below below)
    : storage_{std::move(storage)},
      shape_{shape},
      below_{std::move(below)},
      below_bytes_{bytes_below(below_, shape.bytes)},
      map_{std::move(map)},
      space_{*storage_, shape.block, shape.alignment, shape.end_of_file} {}

MappedImage::~MappedImage() {
  if (!storage_->writable()) return;
  if (auto const closed = close(); !closed) {
    observe::log(observe::Level::error, shape_.log_name, "closing: {}", closed.error().what());
  }
}

Result<> MappedImage::close() {
  if (map_->any_dirty() || !given_up_.empty()) TRY(write_tables());
  TRY(space_.settle());
  TRY(storage_->sync());
  return map_->close();
}

BlockImage::Geometry MappedImage::geometry() const {
  auto const cluster = static_cast<u32>(std::min<u64>(shape_.block, u64{1} << 31));
  return {
      .bytes = shape_.bytes, .sector = shape_.sector, .cluster = cluster, .read_only = !storage_->writable()};
}

Result<> MappedImage::check_write(u64 at, u64 length) {
  TRY(storage_->check_write(at, length, shape_.bytes));
  return announced_.load(std::memory_order_acquire) ? Result<>{} : announce_first_write();
}

Result<> MappedImage::announce_first_write() {
  auto const lock = std::lock_guard{first_write_};
  if (announced_) return {};
  TRY(map_->before_first_write());
  announced_.store(true, std::memory_order_release);
  return {};
}

Result<> MappedImage::finish_write() { return syncs_each_write(storage_->cache()) ? flush() : Result<>{}; }

Result<> MappedImage::flush() {
  if (!storage_->writable()) return {};
  auto const tables_too = [&] {
    auto const lock = Lock{mutex_};
    return map_->any_dirty() || !given_up_.empty();
  }();
  if (tables_too) return write_tables();
  // A thread that took the tables may still be writing them.
  auto const lock = std::lock_guard{writing_tables_};
  return storage_->sync();
}

Result<> MappedImage::make_room() {
  auto const crowded = [&] {
    auto const lock = Lock{mutex_};
    return map_->crowded();
  }();
  return crowded ? write_tables() : Result<>{};
}

Result<> MappedImage::write_tables() {
  auto const one_at_a_time = std::lock_guard{writing_tables_};
  auto given_up = std::size_t{0};
  auto stages = BlockMap::Stages{};
  {
    auto const lock = Lock{mutex_};
    TRY(space_.settle());
    given_up = given_up_.size();
    stages = map_->take_dirty();
  }
  auto const outcome = [&]() -> Result<> {
    TRY(storage_->sync());
    return map_->commit(stages);
  }();
  auto unused = std::vector<GivenUp>{};
  {
    auto const lock = Lock{mutex_};
    map_->written(stages, outcome.has_value());
    if (outcome) unused = take_unused(given_up);
  }
  TRY(outcome);
  // Neighbours together: of small packed blocks the file system frees what fills its own.
  std::ranges::sort(unused, {}, &GivenUp::offset);
  for (auto index = std::size_t{0}; index < unused.size();) {
    auto const start = unused[index].offset;
    auto end = start;
    for (; index < unused.size() && unused[index].offset == end; ++index) end += unused[index].length;
    TRY(storage_->discard(start, end - start));
  }
  auto const lock = Lock{mutex_};
  for (auto const& place : unused) {
    if (place.length == shape_.block && !shape_.packs) space_.free_block(place.offset);
  }
  return {};
}

/// The first `durable` places given up are now in no table of the file. Yields those that no access knows.
std::vector<MappedImage::GivenUp> MappedImage::take_unused(std::size_t durable) {
  for (auto index = std::size_t{0}; index < durable; ++index) given_up_[index].durable = true;
  auto const still_used = [&](GivenUp const& place) {
    return !place.durable || (!in_flight_.empty() && in_flight_.begin()->first <= place.epoch);
  };
  auto const middle = std::partition(given_up_.begin(), given_up_.end(), still_used);
  auto unused = std::vector<GivenUp>{middle, given_up_.end()};
  given_up_.erase(middle, given_up_.end());
  return unused;
}

void MappedImage::give_up(BlockState const& state) {
  if (state.kind == Kind::packed && state.length != 0)
    given_up_.push_back({state.offset, state.length, epoch_++, false});
  if (state.kind == Kind::data || state.kind == Kind::partial) {
    given_up_.push_back({state.offset, shape_.block, epoch_++, false});
  }
}

Result<BlockImage::Extent> MappedImage::extent_at(u64 at) {
  TRY(check_range(storage_->path(), at, 1, shape_.bytes));
  auto const lock = Lock{mutex_};
  auto const presence_of = [&](BlockState const& state, u64 block) {
    if (state.kind == Kind::zero) return Presence::zero;
    if (state.kind != Kind::absent) return Presence::data;
    return below_covers(block) ? Presence::absent : Presence::zero;
  };
  auto const first = at / shape_.block;
  auto const last = (shape_.bytes - 1) / shape_.block;
  auto const state = TRY(map_->state_of(first));
  if (state.kind == Kind::partial) {
    auto const run = TRY(map_->sector_run(first, at % shape_.block));
    return Extent{at, std::min(run.length, shape_.bytes - at),
                  run.present           ? Presence::data
                  : below_covers(first) ? Presence::absent
                                        : Presence::zero};
  }
  auto const presence = presence_of(state, first);
  auto block = first;
  for (auto looked_at = 0; block <= last && looked_at < most_blocks_looked_at; ++looked_at) {
    auto const next = TRY(map_->state_of(block));
    if (next.kind == Kind::partial || presence_of(next, block) != presence) break;
    auto const run = below_bytes_ == 0 ? map_->absent_run(block) : 0;
    block += std::max<u64>(run, 1);
  }
  auto const end = std::min(block > last ? shape_.bytes : block * shape_.block, shape_.bytes);
  return Extent{at, end - at, presence};
}

}  // namespace vireo::image::block_map
