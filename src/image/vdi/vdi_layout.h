#pragma once

#include "image/blocks/layout.h"
#include "image/vdi/header.h"

namespace vireo::image::vdi {

class VdiLayout final : public blocks::Layout {
 public:
  VdiLayout(Header const& header, u64 file_bytes, bool keeps_identity = false);

  Shape shape() const override;
  Result<blocks::Block> decode(Storage const& storage, u64 number, u32 stored) const override;
  u32 encode(blocks::Block const& block) const override;
  /// Sets the count of blocks right, cuts off what lies behind the last one, makes a new modification UUID.
  Result<> begin_changes(Storage const& storage) override;
  Result<NewBlock> append(Storage const& storage) override;

 private:
  u64 place_of(u64 index) const { return header_.data_at + index * header_.stride() + header_.extra; }
  u64 blocks_in(u64 file_bytes) const;

  Header header_;
  bool keeps_identity_;
  u64 places_{};  // in the file, used or not
};

}  // namespace vireo::image::vdi
