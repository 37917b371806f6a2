#include "image/block_map/space.h"

#include <fmt/format.h>

#include <algorithm>

#include "vocab/numbers.h"

namespace vireo::image::block_map {
namespace {

constexpr u64 largest_file{u64{1} << 60};

}  // namespace

Result<Space::Place> Space::allocate_blocks(u64 wanted) {
  if (free_.empty()) {
    auto const place = TRY(allocate_bytes(wanted * block_, alignment_));
    return Place{place.offset, wanted, place.zeroed};
  }
  auto const offset = free_.back();
  free_.pop_back();
  return Place{offset, 1, false};
}

Result<Space::Place> Space::allocate_bytes(u64 bytes, u64 alignment) {
  auto const offset = align_up(end_, alignment);
  if (offset > largest_file || bytes > largest_file - offset) {
    return fail(Errc::no_space, fmt::format("{}: the image has reached the largest size", storage_->path()));
  }
  auto const grows = storage_->can_grow();
  auto const size = TRY(storage_->size());
  if (!grows && offset + bytes > size) {
    return fail(Errc::no_space, fmt::format("{}: the device of {} bytes is full", storage_->path(), size));
  }
  if (grows && offset + bytes > size) TRY(storage_->truncate(offset + bytes));
  end_ = offset + bytes;
  return Place{offset, 0, grows && offset >= size};
}

Result<> Space::settle() const {
  if (storage_->can_grow() && TRY(storage_->size()) < end_) return storage_->truncate(end_);
  return {};
}

}  // namespace vireo::image::block_map
