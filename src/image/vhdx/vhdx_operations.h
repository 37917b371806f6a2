#pragma once

#include "image/image_format.h"

namespace vireo::image::vhdx {

Result<> create(CreateRequest const& request);
Result<Description> describe(Storage const& storage);
Result<std::string> parent_of(Storage const& storage);
Result<CheckReport> check(Storage const& storage, Repair repair);
Result<> resize(Storage const& storage, u64 bytes);

Result<> set_parent(Storage const& storage, Backing const& parent);

}  // namespace vireo::image::vhdx
