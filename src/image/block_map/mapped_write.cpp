#include <fmt/format.h>

#include <algorithm>

#include "image/block_map/claims.h"
#include "vocab/numbers.h"

namespace vireo::image::block_map {
namespace {

constexpr u64 largest_new_place{1 * MiB};
constexpr u64 fill_chunk{1 * MiB};

bool all_zero(ConstBytes bytes) {
  return std::ranges::all_of(bytes, [](std::byte byte) { return byte == std::byte{0}; });
}

}  // namespace

Result<> MappedImage::write(u64 at, ConstBytes from) {
  TRY(check_write(at, from.size()));
  while (!from.empty()) {
    TRY(make_room());
    auto const done = TRY(write_some(at, from));
    from = from.subspan(done);
    at += done;
  }
  return finish_write();
}

Result<u64> MappedImage::write_some(u64 at, ConstBytes from) {
  auto lock = Lock{mutex_};
  auto const block = at / shape_.block;
  claims_change_.wait(lock, [&] { return !claimed_.contains(block); });
  auto const run = TRY(find_run(at, from.size()));
  if (shape_.packs) {
    auto const length = std::min<u64>(from.size(), (block + 1) * shape_.block - at);
    TRY(write_packed(lock, at, from.first(length), run.state));
    return length;
  }
  if (run.state.kind == Kind::partial) {
    TRY(complete_partial(lock, block, run.state));
    return 0;
  }
  if (run.state.kind != Kind::data) return write_new_blocks(lock, at, from);
  auto const access = DataAccess{*this, lock};
  TRY(storage_->write(run.state.offset + at % shape_.block, from.first(run.length)));
  return run.length;
}

/// The blocks from `at` on that have no place and no claim get one in a row.
Result<u64> MappedImage::write_new_blocks(Lock& lock, u64 at, ConstBytes from) {
  auto const first = at / shape_.block;
  auto const last = (at + from.size() - 1) / shape_.block;
  auto const most = std::max<u64>(largest_new_place / shape_.block, 1);
  auto wanted = u64{1};
  for (; wanted < most && first + wanted <= last && !claimed_.contains(first + wanted); ++wanted) {
    auto const kind = TRY(map_->state_of(first + wanted)).kind;
    if (kind != Kind::absent && kind != Kind::zero) break;
  }
  auto const place = TRY(space_.allocate_blocks(wanted));
  auto const claim = Claim{*this, first, place.blocks};
  auto const end = (first + place.blocks) * shape_.block;
  auto const part = from.first(std::min<u64>(from.size(), end - at));
  auto outcome = Result<>{};
  {
    auto const access = DataAccess{*this, lock};
    outcome = fill(place, first * shape_.block, at, part);
  }
  for (auto each = u64{0}; each < place.blocks; ++each) {
    auto const offset = place.offset + each * shape_.block;
    if (outcome) outcome = map_->set(first + each, {Kind::data, offset, 0}, space_);
    if (!outcome) space_.free_block(offset);
  }
  TRY(outcome);
  return part.size();
}

/// Gives new blocks their first content: `from` at `at`, around it what the disk holds there. Nothing maps the
/// place yet.
Result<> MappedImage::fill(Space::Place const& place, u64 start, u64 at, ConstBytes from) {
  auto const length = place.blocks * shape_.block;
  auto const whole = from.size() == length;
  if (!place.zeroed && !whole) TRY(storage_->write_zeroes(place.offset, length, true));
  auto buffer = std::vector<std::byte>{};
  for (auto done = u64{0}; done < length;) {
    auto const here = start + done;
    auto const part = std::min(length - done, fill_chunk);
    auto const from_start = std::clamp(at, here, here + part);
    auto const from_end = std::clamp(at + from.size(), here, here + part);
    auto const data =
        from_start < from_end ? from.subspan(from_start - at, from_end - from_start) : ConstBytes{};
    if (data.size() == part || here >= below_bytes_) {
      if (!data.empty()) TRY(storage_->write(place.offset + (from_start - start), data));
    } else {
      buffer.resize(part);
      auto const old_of = [&](u64 a, u64 b) -> Result<> {  // of the disk, not of the layer below: may be `zero`
        for (auto from_here = a; from_here < b;) {
          auto const inside = std::min(b, shape_.bytes);
          if (from_here >= inside) {
            std::ranges::fill(Bytes{buffer}.subspan(from_here - here, b - from_here), std::byte{0});
            break;
          }
          from_here += TRY(read_some(from_here, Bytes{buffer}.subspan(from_here - here, inside - from_here)));
        }
        return {};
      };
      if (data.empty()) {
        TRY(old_of(here, here + part));
      } else {
        TRY(old_of(here, from_start));
        TRY(old_of(from_end, here + part));
        std::ranges::copy(data, buffer.begin() + static_cast<std::ptrdiff_t>(from_start - here));
      }
      if (!data.empty() || !all_zero(buffer)) TRY(storage_->write(place.offset + done, buffer));
    }
    done += part;
  }
  return {};
}

/// Packed blocks are never changed in place.
Result<> MappedImage::write_packed(Lock& lock, u64 at, ConstBytes from, BlockState const& old) {
  auto const block = at / shape_.block;
  auto const start = block * shape_.block;
  auto const claim = Claim{*this, block, 1};
  auto packed = Result<std::vector<std::byte>>{};
  auto zero = false;
  {
    auto const access = DataAccess{*this, lock};
    auto bytes = std::vector<std::byte>(shape_.block);
    auto const inside = std::min(shape_.block, shape_.bytes - start);
    for (auto done = u64{0}; done < inside && from.size() < inside;) {
      done += TRY(read_some(start + done, Bytes{bytes}.subspan(done, inside - done)));
    }
    std::ranges::copy(from, bytes.begin() + static_cast<std::ptrdiff_t>(at - start));
    zero = all_zero(bytes);
    packed = map_->pack(block, bytes);
  }
  auto const bytes = TRY(std::move(packed));
  auto state = BlockState{zero && below_covers(block) ? Kind::zero : Kind::absent, 0, 0};
  if (!zero || (below_covers(block) && !shape_.knows_zero)) {
    auto const place = TRY(space_.allocate_bytes(bytes.size(), shape_.alignment));
    auto const access = DataAccess{*this, lock};
    TRY(storage_->write(place.offset, bytes));
    state = {Kind::packed, place.offset, bytes.size()};
  }
  TRY(map_->set(block, state, space_));
  give_up(old);
  return {};
}

/// Brings the missing sectors up from the layer below, so that the block can be written in place.
Result<> MappedImage::complete_partial(Lock& lock, u64 block, BlockState const& old) {
  auto const claim = Claim{*this, block, 1};
  auto const start = block * shape_.block;
  auto buffer = std::vector<std::byte>(std::min(fill_chunk, shape_.block));
  for (auto within = u64{0}; within < shape_.block;) {
    auto const run = TRY(map_->sector_run(block, within));
    auto const length = run.present ? run.length : std::min<u64>(run.length, buffer.size());
    if (!run.present) {
      auto const access = DataAccess{*this, lock};
      auto const part = Bytes{buffer}.first(length);
      TRY(read_below(start + within, part));
      TRY(storage_->write(old.offset + within, part));
    }
    within += length;
  }
  return map_->set(block, {Kind::data, old.offset, 0}, space_);
}

}  // namespace vireo::image::block_map
