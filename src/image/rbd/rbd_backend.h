#pragma once

#include "image/backend.h"

namespace vireo::image::rbd {

/// An image in a pool of Ceph's. librbd reconnects by itself.
Result<std::unique_ptr<Backend>> open_rbd(std::string const& url, bool writable);
Result<std::unique_ptr<Backend>> create_rbd(std::string const& url);
Result<> remove_rbd(std::string const& url);

}  // namespace vireo::image::rbd
