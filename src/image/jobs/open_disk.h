#pragma once

#include <memory>
#include <string>
#include <vector>

#include "image/file_locks.h"
#include "image/open_image.h"
#include "image/operations/layers.h"

namespace vireo::image {

/// How a disk was opened, so that it can be opened anew.
struct DiskSource {
  std::string path;
  std::string format;  // empty: by content
  bool read_only{};
  CacheMode cache{CacheMode::writeback};
  bool follow_references{};
  bool track_changes{};
};

/// A disk that is open, and the locks of its files. The locks stay while the handles go and come, so that
/// nobody takes the disk in between.
class OpenDisk {
 public:
  static Result<OpenDisk> open(DiskSource source);

  DiskSource const& source() const { return source_; }
  BlockImage* image() const { return image_.get(); }
  FileLocks& locks() { return locks_; }
  /// Top first. The handles need not be open.
  Result<std::vector<Layer>> layers() const;

  void close_image() { image_.reset(); }
  /// Again, as it was; behind other images `below` stands for the layer of that path.
  Result<> open_image(std::shared_ptr<BlockImage> below = {}, std::string const& below_path = {});
  /// One of the layers, by itself: for writing what those above do not see, or as a layer alone for reading.
  Result<std::unique_ptr<BlockImage>> open_layer(Layer const& layer, bool writable) const;
  /// The disk goes on as another of its layers. Locks of files that are not its own any more are given up.
  Result<> become(DiskSource source);
  Result<> settle_locks();

 private:
  DiskSource source_;
  FileLocks locks_;
  std::unique_ptr<BlockImage> image_;  // goes before the locks
};

/// The files of a layer that are locked: none of a disk on another machine.
std::vector<std::string> files_of(Layer const& layer);

}  // namespace vireo::image
