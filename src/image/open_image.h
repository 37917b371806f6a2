#pragma once

#include <memory>
#include <string>
#include <string_view>

#include "host/file.h"
#include "image/block_image.h"
#include "image/cache_mode.h"

namespace vireo::image {

class FileLocks;

/// What whoever opens a disk has of it already.
struct OpenAccess {
  FileLocks const* locks{};             // files locked there are not locked again
  std::shared_ptr<BlockImage> layer{};  // stands for the file `layer_file` when it lies behind another image
  host::File::Identity layer_file{};
};

struct OpenOptions {
  std::string_view format;  // "raw", "qcow2"; empty: by content
  bool read_only{};
  CacheMode cache{CacheMode::writeback};
  /// Also opens the backing files and parents that an image names; else Errc::denied. An image's content must
  /// not choose which files of the host are read.
  bool follow_references{};
  /// Opens this layer alone and for reading: what it does not hold is absent, and reads as zeroes.
  bool layer_only{};
  /// There will be dirty bitmaps, also where no file for them is beside the image yet.
  bool track_changes{};
  std::string_view snapshot{};  // a name or an id: opens what the disk was then, for reading
  /// Writing does not make the images above out of date: for who writes only what they do not see.
  bool keep_identity{};
  OpenAccess const* access{};
};

/// Opens a disk image with everything behind it. A writer has the file alone; readers share it, and so do the
/// backing files: else Errc::busy. Errors name the file. A raw image found by content refuses a guest's attempt
/// to make its first sector look like another format.
Result<std::unique_ptr<BlockImage>> open_image(std::string const& path, OpenOptions const& options = {});

/// The format's name, by content.
Result<std::string> probe_format(std::string const& path);

}  // namespace vireo::image
