#pragma once

#include <functional>

#include "image/bitmaps/dirty_bitmap.h"
#include "image/jobs/open_disk.h"

namespace vireo::image {

/// Layers of a disk that nobody writes to, each opened alone, as one.
class LayerStack {
 public:
  /// `layers`: of `disk`, the uppermost first.
  static Result<LayerStack> open(OpenDisk const& disk, std::vector<Layer> const& layers);
  /// What they hold there; absent: none of them holds it. Behind a layer's end there are zeroes.
  Result<BlockImage::Extent> extent_at(u64 at) const;
  /// A range that one extent holds as data.
  Result<> read(u64 at, Bytes into) const;

 private:
  std::vector<std::unique_ptr<BlockImage>> layers_;
};

/// All ranges of a disk of so many bytes that are not absent.
Result<std::vector<DirtyRange>> ranges_held(std::function<Result<BlockImage::Extent>(u64 at)> const& extent_at,
                                            u64 bytes);

/// How an image names another one as its parent: by name alone in the same folder, where its format can.
Backing backing_for(std::string const& path, std::string const& format, Layer const& parent);

}  // namespace vireo::image
