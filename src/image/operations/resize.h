#pragma once

#include <string>

#include "image/operations/create.h"

namespace vireo::image {

struct ResizeRequest {
  std::string path;
  std::string format{};  // empty: by content
  u64 bytes{};
  bool shrink{};  // even if data is lost
  bool follow_references{};
  Preallocation preallocation{};  // of what is new
};
/// What a longer disk has more reads as zeroes, whatever the image below holds there. Making it shorter when
/// data other than zeroes would go: Errc::denied, unless the request allows it.
Result<> resize_image(ResizeRequest const& request);

}  // namespace vireo::image
