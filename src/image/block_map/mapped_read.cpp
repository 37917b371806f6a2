#include <fmt/format.h>

#include <algorithm>

#include "image/block_map/claims.h"
#include "image/check_range.h"

namespace vireo::image::block_map {

Result<> MappedImage::read(u64 at, Bytes into) {
  TRY(check_range(storage_->path(), at, into.size(), shape_.bytes));
  while (!into.empty()) {
    auto const done = TRY(read_some(at, into));
    into = into.subspan(done);
    at += done;
  }
  return {};
}

/// The stretch from `at` that is of one kind and, for data, lies in one piece. Called with the lock held.
Result<MappedImage::Run> MappedImage::find_run(u64 at, u64 length) {
  auto const first = at / shape_.block;
  auto run = Run{.state = TRY(map_->state_of(first)), .length = 0};
  auto end = (first + 1) * shape_.block;
  auto const alone = run.state.kind == Kind::packed || run.state.kind == Kind::partial;
  for (auto block = first + 1; end < at + length && !alone; ++block) {
    auto const next = TRY(map_->state_of(block));
    if (next.kind != run.state.kind) break;
    if (next.kind == Kind::data && next.offset != run.state.offset + (block - first) * shape_.block) break;
    end += shape_.block;
  }
  run.length = std::min(end - at, length);
  return run;
}

Result<u64> MappedImage::read_some(u64 at, Bytes into) {
  auto lock = Lock{mutex_};
  auto run = TRY(find_run(at, into.size()));
  auto const within = at % shape_.block;
  if (run.state.kind == Kind::partial) {
    auto const sectors = TRY(map_->sector_run(at / shape_.block, within));
    run.length = std::min(run.length, sectors.length);
    run.state.kind = sectors.present ? Kind::data : Kind::absent;
  }
  auto const access = DataAccess{*this, lock};
  auto const part = into.first(run.length);
  switch (run.state.kind) {
    case Kind::zero: std::ranges::fill(part, std::byte{0}); break;
    case Kind::absent: TRY(read_below(at, part)); break;
    case Kind::packed: TRY(read_packed(at / shape_.block, run.state, within, part)); break;
    case Kind::data:
    case Kind::partial: TRY(storage_->read(run.state.offset + within, part)); break;
  }
  return run.length;
}

ConstBytes MappedImage::view(u64 at, u64 length) {
  if (storage_->writable() || at >= shape_.bytes) return {};
  auto const run = [&] {
    auto const lock = Lock{mutex_};
    return find_run(at, std::min(length, shape_.bytes - at));
  }();
  if (!run || run->state.kind != Kind::data) return {};
  return storage_->view(run->state.offset + at % shape_.block, run->length);
}

Result<BlockImage::Place> MappedImage::place_at(u64 at) {
  auto place = Place{.extent = TRY(extent_at(at))};
  if (place.extent.presence != Presence::data) return place;
  auto const lock = Lock{mutex_};
  auto const run = TRY(find_run(at, place.extent.length));
  place.extent.length = run.length;
  if (run.state.kind != Kind::packed) place.offset = run.state.offset + at % shape_.block;
  return place;
}

Result<> MappedImage::read_below(u64 at, Bytes into) {
  auto const there = at < below_bytes_ ? std::min<u64>(into.size(), below_bytes_ - at) : 0;
  if (there != 0) TRY(below_.image->read(below_.start + at, into.first(there)));
  std::ranges::fill(into.subspan(there), std::byte{0});
  return {};
}

Result<> MappedImage::read_packed(u64 block, BlockState const& state, u64 within, Bytes into) {
  auto bytes = [&] {
    auto const lock = std::lock_guard{unpacked_mutex_};
    return unpacked_;
  }();
  if (!bytes || bytes->place != state.offset) {
    auto fresh = std::make_shared<Unpacked>(Unpacked{state.offset, std::vector<std::byte>(shape_.block)});
    TRY(map_->unpack(block, state, fresh->bytes));
    bytes = std::move(fresh);
    auto const lock = std::lock_guard{unpacked_mutex_};
    unpacked_ = bytes;
  }
  std::ranges::copy(ConstBytes{bytes->bytes}.subspan(within, into.size()), into.begin());
  return {};
}

}  // namespace vireo::image::block_map
