#include <algorithm>

#include "image/block_map/claims.h"
#include "vocab/numbers.h"

namespace vireo::image::block_map {
namespace {

constexpr u64 zero_chunk{1 * MiB};

ConstBytes zeroes() {
  static auto const bytes = std::vector<std::byte>(zero_chunk);
  return bytes;
}

}  // namespace

Result<> MappedImage::write_zeroes(u64 at, u64 length, bool may_unmap) {
  TRY(check_write(at, length));
  while (length != 0) {
    TRY(make_room());
    auto const done = TRY(zero_some(at, length, may_unmap));
    at += done;
    length -= done;
  }
  return finish_write();
}

/// Zeroes up to the end of a block.
Result<u64> MappedImage::zero_some(u64 at, u64 length, bool may_unmap) {
  auto lock = Lock{mutex_};
  auto const block = at / shape_.block;
  claims_change_.wait(lock, [&] { return !claimed_.contains(block); });
  auto const state = TRY(map_->state_of(block));
  auto const run = below_bytes_ == 0 ? map_->absent_run(block) : 0;
  auto const part = std::min(length, (block + std::max<u64>(run, 1)) * shape_.block - at);
  if (state.kind == Kind::zero || (state.kind == Kind::absent && !below_covers(block))) return part;
  auto const reaches_end = at + part == std::min((block + 1) * shape_.block, shape_.bytes);
  auto const whole = at % shape_.block == 0 && reaches_end;
  auto const keeps_place = state.kind == Kind::data && (!may_unmap || !whole);
  if (whole && !keeps_place && TRY(clear_block(block))) return part;
  if (state.kind == Kind::data) {
    auto const access = DataAccess{*this, lock};
    TRY(storage_->write_zeroes(state.offset + at % shape_.block, part, may_unmap));
    return part;
  }
  lock.unlock();
  return write_some(at, zeroes().first(std::min<u64>(part, zero_chunk)));
}

Result<> MappedImage::discard(u64 at, u64 length) {
  TRY(check_write(at, length));
  auto const end = at + length == shape_.bytes ? align_up(shape_.bytes, shape_.block)
                                               : align_down(at + length, shape_.block);
  for (auto block = align_up(at, shape_.block) / shape_.block; block < end / shape_.block;) {
    TRY(make_room());
    auto lock = Lock{mutex_};
    claims_change_.wait(lock, [&] { return !claimed_.contains(block); });
    auto const run = below_bytes_ == 0 ? map_->absent_run(block) : 0;
    auto const state = run != 0 ? BlockState{} : TRY(map_->state_of(block));
    if (run == 0 && !TRY(clear_block(block)) && state.kind == Kind::data) {
      auto const access = DataAccess{*this, lock};
      TRY(storage_->discard(state.offset, shape_.block));
    }
    block += std::max<u64>(run, 1);
  }
  return finish_write();
}

/// False when the map cannot say "zero" over the layer below.
Result<bool> MappedImage::clear_block(u64 block) {
  auto const state = TRY(map_->state_of(block));
  auto const kind = below_covers(block) || state.kind == Kind::partial ? Kind::zero : Kind::absent;
  if (state.kind == kind || (state.kind == Kind::zero)) return true;
  if (kind == Kind::zero && !shape_.knows_zero) return false;
  if (state.kind == Kind::data && shape_.keeps_places) return false;
  TRY(map_->set(block, {kind, 0, 0}, space_));
  give_up(state);
  return true;
}

}  // namespace vireo::image::block_map
