#include "image/formats.h"

#include <array>

#include "image/qcow2/qcow2_format.h"
#include "image/raw/raw_format.h"

namespace vireo::image {

std::span<ImageFormat const* const> image_formats() {
  static constexpr auto all = std::array<ImageFormat const*, 2>{&qcow2::format, &raw::format};
  return all;
}

ImageFormat const* find_format(std::string_view name) {
  for (auto const* format : image_formats()) {
    if (format->name == name) return format;
  }
  return nullptr;
}

}  // namespace vireo::image
