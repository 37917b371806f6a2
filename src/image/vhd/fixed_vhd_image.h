#pragma once

#include <memory>

#include "image/block_image.h"
#include "image/storage.h"
#include "image/vhd/footer.h"

namespace vireo::image::vhd {

/// The disk's bytes from the start of the file; the footer behind them stays as it is. Errc::corrupt when the
/// file is too short.
Result<std::unique_ptr<BlockImage>> open_fixed(Storage storage, Footer const& footer);

}  // namespace vireo::image::vhd
