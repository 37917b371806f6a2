#pragma once

#include <memory>
#include <string>

#include "image/qcow2/bitmap_directory.h"

namespace vireo::image {

/// Bitmaps of a disk whose format has none: in FILE.bitmaps, a qcow2 image of the same size without data, which
/// holds them as qcow2 does. It knows size and time of the image's files as they were when it was written; when
/// they are others, somebody changed the disk and did not know of it, and the bitmaps are out of date.
std::string bitmap_sidecar(std::string const& path);
bool has_bitmap_sidecar(std::string const& path);

class BitmapSidecar {
 public:
  /// Alone as a writer. `format`: the image's.
  static Result<BitmapSidecar> open(std::string const& image, std::string const& format);
  /// Makes an empty one.
  static Result<BitmapSidecar> create(std::string const& image, std::string const& format);

  qcow2::FileBitmaps& bitmaps() { return *bitmaps_; }
  /// The image is closed: stores the bitmaps and what the image's files are like. Without bitmaps it goes.
  Result<> save();

 private:
  BitmapSidecar(std::string image, std::string format, std::unique_ptr<Storage> storage)
      : image_{std::move(image)}, format_{std::move(format)}, storage_{std::move(storage)} {}
  Result<> write_stamp() const;

  std::string image_;
  std::string format_;
  std::unique_ptr<Storage> storage_;
  std::unique_ptr<qcow2::FileBitmaps> bitmaps_;
};

/// For reading: nobody is kept from writing.
Result<std::vector<DirtyBitmap>> read_bitmap_sidecar(std::string const& image, std::string const& format);

}  // namespace vireo::image
