#include "display/png.h"

#include <fmt/format.h>
#include <png.h>

namespace vireo::display {

Result<std::vector<u8>> to_png(Picture const& picture) {
  if (picture.pixels.empty()) return fail(Errc::invalid, "the screen shows nothing");
  auto bytes = std::vector<u8>{};
  bytes.reserve(picture.pixels.size() * 3);
  for (auto const pixel : picture.pixels) {
    for (auto const shift : {16, 8, 0}) bytes.push_back(static_cast<u8>(pixel >> shift));
  }
  auto image = png_image{};
  image.version = PNG_IMAGE_VERSION;
  image.width = picture.width;
  image.height = picture.height;
  image.format = PNG_FORMAT_RGB;
  auto size = png_alloc_size_t{0};
  auto png = std::vector<u8>{};
  // Once to learn the size, once to write.
  auto done = png_image_write_to_memory(&image, nullptr, &size, 0, bytes.data(), 0, nullptr);
  png.resize(size);
  if (done != 0) done = png_image_write_to_memory(&image, png.data(), &size, 0, bytes.data(), 0, nullptr);
  if (done == 0) return fail(Errc::io, fmt::format("PNG: {}", std::string_view{image.message}));
  png.resize(size);
  return png;
}

}  // namespace vireo::display
