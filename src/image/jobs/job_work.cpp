#include "image/jobs/job_work.h"

#include "image/bitmaps/dirty_bitmaps.h"
#include "observe/log.h"

namespace vireo::image {

std::vector<DirtyBitmap> bitmaps_of(BlockImage& image) {
  auto all = std::vector<DirtyBitmap>{};
  auto* const bitmaps = image.dirty_bitmaps();
  if (bitmaps == nullptr) return all;
  for (auto const& info : bitmaps->list()) {
    auto copy = bitmaps->copy(info.name);
    if (copy && !copy->inconsistent) all.push_back(*std::move(copy));
  }
  return all;
}

void give_bitmaps(BlockImage& image, std::vector<DirtyBitmap> bitmaps) {
  auto* const there = image.dirty_bitmaps();
  for (auto& each : bitmaps) {
    auto const name = each.name();
    auto const given = there == nullptr ? Result<>{fail(Errc::unsupported, "the image keeps none")}
                                        : there->add(std::move(each));
    if (given || given.error().code() == Errc::busy) continue;
    observe::log(observe::Level::warning, "image", "bitmap '{}' is lost: {}", name, given.error().what());
  }
}

}  // namespace vireo::image
