#include "image/jobs/piece.h"

#include <algorithm>

#include "image/jobs/layer_stack.h"
#include "image/operations/stretches.h"

namespace vireo::image {
namespace {

constexpr u64 grain{4096};

Result<bool> reads_as_zeroes(BlockImage& image, u64 at, u64 length) {
  while (length != 0) {
    auto const extent = TRY(image.extent_at(at));
    if (extent.presence != BlockImage::Presence::zero) return false;
    auto const part = std::min(length, extent.length);
    at += part;
    length -= part;
  }
  return true;
}

}  // namespace

void Piece::add(u64 at, u64 length, bool zero) {
  if (!stretches_.empty() && stretches_.back().zero == zero) {
    stretches_.back().length += length;
  } else {
    stretches_.push_back({at, length, zero});
  }
}

template <typename From>
Result<> Piece::read_from(From& from, u64 at, u64 length) {
  at_ = at;
  bytes_.resize(length);
  stretches_.clear();
  for (auto const end = at + length; at < end;) {
    auto const extent = TRY(from.extent_at(at));
    auto const part = std::min(extent.length, end - at);
    if (extent.presence == BlockImage::Presence::zero) {
      add(at, part, true);
    } else {
      auto const bytes = Bytes{bytes_}.subspan(at - at_, part);
      TRY(from.read(at, bytes));
      TRY(for_each_kind(bytes, grain, [&](u64 start, u64 count, bool zero) -> Result<> {
        add(at + start, count, zero);
        return {};
      }));
    }
    at += part;
  }
  return {};
}

Result<> Piece::read(BlockImage& from, u64 at, u64 length) { return read_from(from, at, length); }
Result<> Piece::read(LayerStack const& from, u64 at, u64 length) { return read_from(from, at, length); }

Result<> Piece::write(BlockImage& to, bool compare) {
  for (auto const& each : stretches_) {
    if (each.zero) {
      if (!TRY(reads_as_zeroes(to, each.at, each.length))) TRY(to.write_zeroes(each.at, each.length, true));
      continue;
    }
    auto const bytes = ConstBytes{bytes_}.subspan(each.at - at_, each.length);
    if (compare) {
      there_.resize(each.length);
      TRY(to.read(each.at, there_));
      if (std::ranges::equal(bytes, there_)) continue;
    }
    TRY(to.write(each.at, bytes));
  }
  return {};
}

}  // namespace vireo::image
