#include "image/formats.h"

#include <array>

#include "image/luks/luks_format.h"
#include "image/qcow2/qcow2_format.h"
#include "image/raw/raw_format.h"
#include "image/vdi/vdi_format.h"
#include "image/vhd/vhd_format.h"
#include "image/vhdx/vhdx_format.h"
#include "image/vmdk/vmdk_format.h"

namespace vireo::image {

std::span<ImageFormat const* const> image_formats() {
  static constexpr auto all = std::to_array<ImageFormat const*>({
      &qcow2::format,
      &vdi::format,
      &vhdx::format,
      &vmdk::format,
      &vhd::format,
      &luks::format,
      &raw::format,
  });
  return all;
}

ImageFormat const* find_format(std::string_view name) {
  for (auto const* format : image_formats()) {
    if (format->name == name) return format;
  }
  return nullptr;
}

}  // namespace vireo::image
