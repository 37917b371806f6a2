#pragma once

#include "image/bitmaps/sidecar.h"
#include "image/block_image.h"

namespace vireo::image {

/// A disk whose changes are recorded in the bitmaps of its sidecar.
class TrackedImage final : public BlockImage {
 public:
  TrackedImage(std::unique_ptr<BlockImage> disk, BitmapSidecar sidecar)
      : disk_{std::move(disk)}, sidecar_{std::move(sidecar)} {}
  ~TrackedImage() override;

  Geometry geometry() const override { return disk_->geometry(); }
  Result<> read(u64 at, Bytes into) override { return disk_->read(at, into); }
  Result<> write(u64 at, ConstBytes from) override;
  Result<> write_zeroes(u64 at, u64 length, bool may_unmap) override;
  Result<> discard(u64 at, u64 length) override;
  Result<> flush() override { return disk_->flush(); }
  Result<Extent> extent_at(u64 at) override { return disk_->extent_at(at); }
  Result<Place> place_at(u64 at) override { return disk_->place_at(at); }
  Result<> write_compressed(u64 at, ConstBytes from) override;
  DirtyBitmaps* dirty_bitmaps() override { return &sidecar_.bitmaps(); }

 private:
  std::unique_ptr<BlockImage> disk_;
  BitmapSidecar sidecar_;
};

}  // namespace vireo::image
