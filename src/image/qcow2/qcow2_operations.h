#pragma once

#include "image/image_format.h"

namespace vireo::image::qcow2 {

Result<> create(CreateRequest const& request);
Result<Description> describe(Storage const& storage);
Result<std::string> parent_of(Storage const& storage);
Result<CheckReport> check(Storage const& storage, Repair repair);
Result<> resize(Storage const& storage, u64 bytes);
/// Makes the header name another backing file, or none. The disk's content is the caller's care.
Result<> set_backing(Storage const& storage, Backing const& backing);

}  // namespace vireo::image::qcow2
