#pragma once

#include "image/blocks/layout.h"
#include "image/vhd/dynamic_header.h"

namespace vireo::image::vhd {

/// Of dynamic and differencing disks.
class VhdLayout final : public blocks::Layout {
 public:
  VhdLayout(Footer footer, DynamicHeader header, u64 file_bytes);

  Shape shape() const override;
  Result<blocks::Block> decode(Storage const& storage, u64 number, u32 stored) const override;
  u32 encode(blocks::Block const& block) const override;
  /// Cuts off what lies behind the last block and puts the footer there.
  Result<> begin_changes(Storage const& storage) override;
  Result<NewBlock> append(Storage const& storage) override;

 private:
  struct Place {
    u64 at{};
    u64 length{};
  };
  u64 end_of_metadata() const;

  Footer footer_;
  DynamicHeader header_;
  u64 bitmap_;
  std::vector<Place> metadata_;  // no block may lie there
  u64 end_;                      // of blocks and metadata: there is the footer
};

}  // namespace vireo::image::vhd
