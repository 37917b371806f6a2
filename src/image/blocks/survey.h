#pragma once

#include "image/blocks/layout.h"

namespace vireo::image::blocks {

/// Looks at the whole table: where the last block ends, or 0. `before`: bytes that a block has before its data.
/// A block outside the file, on metadata or on another block: Errc::corrupt, since the file must not grow then:
/// an entry that leads nowhere today would lead to another block's data.
Result<u64> survey(Storage const& storage, Layout const& layout, u64 before);

}  // namespace vireo::image::blocks
