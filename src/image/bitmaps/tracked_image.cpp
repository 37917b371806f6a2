#include "image/bitmaps/tracked_image.h"

#include "observe/log.h"

namespace vireo::image {

TrackedImage::~TrackedImage() {
  disk_.reset();
  if (auto const saved = sidecar_.save(); !saved) {
    observe::log(observe::Level::error, "image", "its dirty bitmaps are out of date: {}", saved.error().what());
  }
}

Result<> TrackedImage::write(u64 at, ConstBytes from) {
  auto const record = TRY(RecordedChange::begin(sidecar_.bitmaps(), at, from.size()));
  return disk_->write(at, from);
}

Result<> TrackedImage::write_zeroes(u64 at, u64 length, bool may_unmap) {
  auto const record = TRY(RecordedChange::begin(sidecar_.bitmaps(), at, length));
  return disk_->write_zeroes(at, length, may_unmap);
}

Result<> TrackedImage::discard(u64 at, u64 length) {
  auto const record = TRY(RecordedChange::begin(sidecar_.bitmaps(), at, length));
  return disk_->discard(at, length);
}

Result<> TrackedImage::write_compressed(u64 at, ConstBytes from) {
  auto const record = TRY(RecordedChange::begin(sidecar_.bitmaps(), at, from.size()));
  return disk_->write_compressed(at, from);
}

}  // namespace vireo::image
