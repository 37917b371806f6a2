#pragma once

#include <memory>
#include <string_view>
#include <vector>

#include "image/block_image.h"
#include "image/open_image.h"
#include "image/operations/check.h"
#include "image/operations/create.h"
#include "image/operations/describe.h"
#include "image/storage.h"

namespace vireo::image {

/// What a format needs to open an image and the files behind it.
struct OpenContext {
  FileLocks const* locks() const { return options.access == nullptr ? nullptr : options.access->locks; }

  OpenOptions options;
  bool probed{};                              // the format was found by content
  std::vector<host::File::Identity> above{};  // the files opened on the way here, for cycles and depth
};

/// One per format folder; formats.cpp lists all.
struct ImageFormat {
  std::string_view name;
  /// Looks at up to 4 KiB from the start of a file.
  bool (*probe)(ConstBytes head);
  Result<std::unique_ptr<BlockImage>> (*open)(Storage storage, OpenContext context);
  /// The rest works on an image that nobody has opened.
  Result<> (*create)(CreateRequest const& request);
  Result<Description> (*describe)(Storage const& storage);
  /// The file that an image with something behind it leads to; only when references may be followed.
  Result<std::string> (*find_parent)(Storage const& storage);
  Result<CheckReport> (*check)(Storage const& storage, Repair repair);
  /// Makes the disk longer or shorter; what it had behind a shorter end is zeroes already. Null: the image is
  /// made anew instead.
  Result<> (*resize)(Storage const& storage, u64 bytes);
  /// Another image behind this one, or none (an empty path), in place and stable on return: the disk is a layer
  /// that reads the same over it. A path counts from the image's folder. Null: the format has no overlays.
  Result<> (*set_parent)(Storage const& storage, Backing const& parent);
};

/// For formats with backing files: opens what lies behind. Refuses cycles and chains of more than 64 files.
Result<std::unique_ptr<BlockImage>> open_image_in(std::string const& path, OpenContext context);

}  // namespace vireo::image
