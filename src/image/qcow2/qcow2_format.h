#pragma once

#include "image/image_format.h"

namespace vireo::image::qcow2 {

extern ImageFormat const format;

/// Where the name that an image holds leads to, seen from the image.
Result<std::string> backing_path(Storage const& storage, std::string const& name);

struct Header;
Result<std::string> data_file_path(Storage const& storage, Header const& header);

}  // namespace vireo::image::qcow2
