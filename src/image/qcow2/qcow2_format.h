#pragma once

#include "image/image_format.h"
#include "image/luks/volume.h"

namespace vireo::image::qcow2 {

extern ImageFormat const format;

/// Where the name that an image holds leads to, seen from the image.
Result<std::string> backing_path(Storage const& storage, std::string const& name);

struct Header;
luks::ReadHeader luks_reader(Storage const& storage, Header const& header);
Result<luks::Volume> read_luks_volume(Storage const& storage, Header const& header);
Result<std::string> data_file_path(Storage const& storage, Header const& header);

}  // namespace vireo::image::qcow2
