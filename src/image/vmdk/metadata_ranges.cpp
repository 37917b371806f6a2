#include <algorithm>

#include "image/vmdk/sparse_map.h"

namespace vireo::image::vmdk {

bool MetadataRanges::settle() {
  std::ranges::sort(ranges_, {}, &Range::from);
  auto joined = std::vector<Range>{};
  for (auto const& range : ranges_) {
    if (!joined.empty() && range.from < joined.back().to) return false;
    if (!joined.empty() && range.from == joined.back().to) {
      joined.back().to = range.to;
    } else {
      joined.push_back(range);
    }
  }
  ranges_ = std::move(joined);
  return true;
}

bool MetadataRanges::touches(u64 offset, u64 length) const {
  auto const next = std::ranges::upper_bound(ranges_, offset, {}, &Range::to);  // the first that ends behind
  return next != ranges_.end() && next->from < offset + length;
}

}  // namespace vireo::image::vmdk
