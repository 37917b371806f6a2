#include "image/jobs/set_parent.h"

#include <fmt/format.h>

#include "image/bitmaps/sidecar.h"
#include "image/formats.h"
#include "image/jobs/layer_stack.h"
#include "image/operations/bitmap.h"

namespace vireo::image {

Result<> check_can_set_parent(Layer const& layer) {
  auto const* const format = find_format(layer.description.format);
  if (format != nullptr && format->set_parent != nullptr && !layer.description.fixed) return {};
  return fail(Errc::unsupported, fmt::format("{}: {} has no place for the name of an image behind it",
                                             layer.path, layer.description.format));
}

Result<> set_parent(Layer const& layer, Layer const* parent) {
  TRY(check_can_set_parent(layer));
  auto const& format = layer.description.format;
  // The sidecar knows the image's files by their last change.
  auto kept = std::optional<KeptBitmaps>{};
  if (has_bitmap_sidecar(layer.path)) kept = TRY(KeptBitmaps::begin({layer.path, format}));
  auto const storage = TRY(Storage::open(layer.path, true, CacheMode::writeback));
  TRY(find_format(format)->set_parent(
      storage, parent == nullptr ? Backing{} : backing_for(layer.path, format, *parent)));
  return kept ? kept->finish() : Result<>{};
}

}  // namespace vireo::image
