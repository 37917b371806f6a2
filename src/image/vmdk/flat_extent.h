#pragma once

#include "image/block_image.h"
#include "image/storage.h"

namespace vireo::image::vmdk {

/// A stretch of a file that is a stretch of the disk.
class FlatExtent final : public BlockImage {
 public:
  FlatExtent(std::shared_ptr<Storage const> storage, u64 offset, u64 bytes)
      : storage_{std::move(storage)}, offset_{offset}, bytes_{bytes} {}

  Geometry geometry() const override;
  Result<> read(u64 at, Bytes into) override;
  Result<> write(u64 at, ConstBytes from) override;
  Result<> write_zeroes(u64 at, u64 length, bool may_unmap) override;
  Result<> discard(u64 at, u64 length) override;
  Result<> flush() override { return storage_->sync(); }
  Result<Extent> extent_at(u64 at) override;
  Result<Place> place_at(u64 at) override { return Place{TRY(extent_at(at)), offset_ + at}; }

 private:
  Result<> check_write(u64 at, u64 length) const;

  std::shared_ptr<Storage const> storage_;
  u64 offset_;
  u64 bytes_;
};

/// A stretch of zeroes that nothing is written to.
class ZeroExtent final : public BlockImage {
 public:
  explicit ZeroExtent(std::string path, u64 bytes) : path_{std::move(path)}, bytes_{bytes} {}

  Geometry geometry() const override { return {.bytes = bytes_, .read_only = true}; }
  Result<> read(u64 at, Bytes into) override;
  Result<> write(u64, ConstBytes) override { return denied(); }
  Result<> write_zeroes(u64, u64, bool) override { return {}; }
  Result<> discard(u64, u64) override { return {}; }
  Result<> flush() override { return {}; }
  Result<Extent> extent_at(u64 at) override { return Extent{at, bytes_ - at, Presence::zero}; }

 private:
  Result<> denied() const;

  std::string path_;
  u64 bytes_;
};

}  // namespace vireo::image::vmdk
