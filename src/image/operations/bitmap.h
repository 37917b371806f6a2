#pragma once

#include <string>
#include <vector>

#include "image/bitmaps/dirty_bitmap.h"

namespace vireo::image {

/// Dirty bitmaps of a disk that nobody has opened: qcow2 holds its own, others have them in FILE.bitmaps.
struct BitmapTarget {
  std::string path;
  std::string format{};  // empty: by content
};
/// Those that are out of date are so, and empty. Also of a disk that is in use: as they were when it was
/// opened.
Result<std::vector<DirtyBitmap>> read_bitmaps(BitmapTarget const& target);
/// Errc::not_found, or Errc::corrupt when it is out of date.
Result<DirtyBitmap> read_bitmap(BitmapTarget const& target, std::string const& name);

struct BitmapEdit {
  enum class Action : u8 { add, remove, clear, enable, disable, merge };
  Action action{};
  std::string name;
  u64 granularity{};           // add; 0: as the image's clusters
  std::string source{};        // merge: the bitmap that is brought in
  BitmapTarget source_disk{};  // merge: empty: the same disk
};
Result<> edit_bitmap(BitmapTarget const& target, BitmapEdit const& edit);

/// Adds these to what a disk has, as they are: after converting or making an image anew.
Result<> add_bitmaps(BitmapTarget const& target, std::vector<DirtyBitmap> bitmaps);

/// For operations that change an image's files and not what its disk holds, or its size alone.
class KeptBitmaps {
 public:
  static Result<KeptBitmaps> begin(BitmapTarget target);
  /// They count for what the image is now.
  Result<> finish() const;

 private:
  BitmapTarget target_;
  std::vector<DirtyBitmap> bitmaps_;
};

}  // namespace vireo::image
