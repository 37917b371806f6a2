#pragma once

#include <string>
#include <vector>

#include "cli/image_tool.h"

namespace vireo::cli {

/// What all image verbs share, taken out before they see their arguments: --key-file FILE, --new-key-file FILE,
/// qemu-img's
/// --object secret,id=ID,data=TEXT|file=FILE, and --image-opts, whose option lists become -f FORMAT and a name.
class ImageArguments {
 public:
  static Result<ImageArguments> take(Arguments arguments);
  /// Valid as long as this.
  std::vector<char const*> rest() const;

 private:
  Words words_;
};

}  // namespace vireo::cli
