#include "image/operations/stretches.h"

#include <algorithm>
#include <cstring>
#include <vector>

#include "vocab/numbers.h"

namespace vireo::image {
namespace {

constexpr u64 chunk{2 * MiB};

}  // namespace

bool all_zero(ConstBytes bytes) {
  auto const head = std::min<std::size_t>(bytes.size(), 16);
  for (auto index = std::size_t{0}; index < head; ++index) {
    if (bytes[index] != std::byte{0}) return false;
  }
  // The rest is zero when it equals itself 16 bytes earlier.
  return bytes.size() <= 16 || std::memcmp(bytes.data(), bytes.data() + 16, bytes.size() - 16) == 0;
}

Result<u64> first_data(BlockImage& image, u64 from) {
  auto const bytes = image.geometry().bytes;
  auto buffer = std::vector<std::byte>(chunk);
  while (from < bytes) {
    auto const extent = TRY(image.extent_at(from));
    auto const end = std::min(bytes, from + extent.length);
    for (auto at = from; at < end && extent.presence != BlockImage::Presence::zero;) {
      auto const part = Bytes{buffer}.first(std::min(chunk, end - at));
      TRY(image.read(at, part));
      auto const found = std::ranges::find_if(part, [](std::byte byte) { return byte != std::byte{0}; });
      if (!all_zero(part)) return at + static_cast<u64>(found - part.begin());
      at += part.size();
    }
    from = end;
  }
  return ~u64{0};
}

Result<> read_padded(BlockImage& image, u64 at, Bytes into) {
  auto const bytes = image.geometry().bytes;
  auto const there = at < bytes ? std::min<u64>(into.size(), bytes - at) : 0;
  if (there != 0) TRY(image.read(at, into.first(there)));
  std::ranges::fill(into.subspan(there), std::byte{0});
  return {};
}

}  // namespace vireo::image
