#pragma once

#include "image/image_format.h"

namespace vireo::image::vmdk {

Result<> create(CreateRequest const& request);
Result<Description> describe(Storage const& storage);
Result<std::string> parent_of(Storage const& storage);
/// Names another parent (none: an empty path) in the descriptor of a disk in several files, in one step.
Result<> set_parent(Storage const& storage, std::string const& parent);
/// Makes the extents of a child in several files anew, empty: what they held is in the parent by now.
Result<> make_empty(Storage const& storage);
Result<CheckReport> check(Storage const& storage, Repair repair);
Result<> resize(Storage const& storage, u64 bytes);

Result<> set_parent(Storage const& storage, Backing const& parent);

}  // namespace vireo::image::vmdk
