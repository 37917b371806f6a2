#include "image/vhdx/patched_file.h"

#include <algorithm>

namespace vireo::image::vhdx {

Result<> PatchedFile::read(u64 at, Bytes into) const {
  TRY(storage_->read(at, into));
  for (auto next = sectors_.lower_bound(align_down(at, log_at::sector));
       next != sectors_.end() && next->first < at + into.size(); ++next) {
    auto const from = std::max(at, next->first);
    auto const to = std::min(at + into.size(), next->first + log_at::sector);
    std::ranges::copy(ConstBytes{next->second}.subspan(from - next->first, to - from),
                      into.begin() + static_cast<std::ptrdiff_t>(from - at));
  }
  return {};
}

bool PatchedFile::touches(u64 at, u64 length) const {
  auto const next = sectors_.lower_bound(align_down(at, log_at::sector));
  return next != sectors_.end() && next->first < at + length;
}

}  // namespace vireo::image::vhdx
