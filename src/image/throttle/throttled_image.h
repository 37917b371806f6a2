#pragma once

#include "image/block_image.h"
#include "image/throttle/throttle.h"

namespace vireo::image {

/// A disk whose reads, writes, zeroes and discards wait for their throttle; a flush does not.
class ThrottledImage final : public BlockImage {
 public:
  ThrottledImage(std::shared_ptr<BlockImage> below, std::shared_ptr<Throttle> throttle)
      : below_{std::move(below)}, throttle_{std::move(throttle)} {}

  Geometry geometry() const override { return below_->geometry(); }
  Result<> read(u64 at, Bytes into) override {
    throttle_->pass(into.size());
    return below_->read(at, into);
  }
  Result<> write(u64 at, ConstBytes from) override {
    throttle_->pass(from.size());
    return below_->write(at, from);
  }
  Result<> write_zeroes(u64 at, u64 length, bool may_unmap) override {
    throttle_->pass(0);
    return below_->write_zeroes(at, length, may_unmap);
  }
  Result<> discard(u64 at, u64 length) override {
    throttle_->pass(0);
    return below_->discard(at, length);
  }
  Result<> flush() override { return below_->flush(); }
  Result<Extent> extent_at(u64 at) override { return below_->extent_at(at); }
  Result<Place> place_at(u64 at) override { return below_->place_at(at); }

 private:
  std::shared_ptr<BlockImage> below_;
  std::shared_ptr<Throttle> throttle_;
};

}  // namespace vireo::image
