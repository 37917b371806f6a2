#pragma once

#include <atomic>
#include <mutex>
#include <vector>

#include "image/block_image.h"
#include "image/vmdk/descriptor.h"

namespace vireo::image::vmdk {

/// A VMDK disk: its extents in a row. The first change after opening gives it another content id, so that
/// children notice that their parent is not what they were made on.
class VmdkImage final : public BlockImage {
 public:
  struct Part {
    u64 start{};
    u64 bytes{};
    std::unique_ptr<BlockImage> image;
  };
  struct Identity {
    std::shared_ptr<Storage const> storage;  // where the descriptor lies
    DescriptorPlace place;
    u32 cid{};
    bool kept{};  // by the first change
  };
  VmdkImage(std::vector<Part> parts, Identity identity);

  Geometry geometry() const override { return geometry_; }
  Result<> read(u64 at, Bytes into) override;
  Result<> write(u64 at, ConstBytes from) override;
  Result<> write_zeroes(u64 at, u64 length, bool may_unmap) override;
  Result<> discard(u64 at, u64 length) override;
  Result<> flush() override;
  Result<Extent> extent_at(u64 at) override;
  Result<Place> place_at(u64 at) override;
  ConstBytes view(u64 at, u64 length) override;
  /// The content id as it was when the image was opened.
  u32 cid() const { return identity_.cid; }

 private:
  Part& part_at(u64 at);
  Result<> check_write(u64 at, u64 length);
  template <typename F>
  Result<> for_each_part(u64 at, u64 length, F&& act);

  std::vector<Part> parts_;
  Identity identity_;
  Geometry geometry_;
  std::mutex first_write_;
  std::atomic<bool> announced_{};
};

}  // namespace vireo::image::vmdk
