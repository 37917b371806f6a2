#include "image/jobs/layer_stack.h"

#include <algorithm>
#include <filesystem>

#include "image/backend.h"
#include "image/formats.h"

namespace vireo::image {

using Presence = BlockImage::Presence;

Result<LayerStack> LayerStack::open(OpenDisk const& disk, std::vector<Layer> const& layers) {
  auto stack = LayerStack{};
  for (auto const& layer : layers) stack.layers_.push_back(TRY(disk.open_layer(layer, false)));
  return stack;
}

Result<BlockImage::Extent> LayerStack::extent_at(u64 at) const {
  auto result = BlockImage::Extent{at, ~u64{0} - at, Presence::absent};
  for (auto const& layer : layers_) {
    if (at >= layer->geometry().bytes) return BlockImage::Extent{at, result.length, Presence::zero};
    auto const extent = TRY(layer->extent_at(at));
    result.length = std::min(result.length, extent.length);
    if (extent.presence == Presence::absent) continue;
    return BlockImage::Extent{at, result.length, extent.presence};
  }
  return result;
}

Result<> LayerStack::read(u64 at, Bytes into) const {
  for (auto const& layer : layers_) {
    auto const extent = TRY(layer->extent_at(at));
    if (extent.presence != Presence::absent) return layer->read(at, into);
  }
  return fail(Errc::invalid, "no layer holds this");
}

Result<std::vector<DirtyRange>> ranges_held(std::function<Result<BlockImage::Extent>(u64 at)> const& extent_at,
                                            u64 bytes) {
  auto ranges = std::vector<DirtyRange>{};
  for (auto at = u64{0}; at < bytes;) {
    auto const extent = TRY(extent_at(at));
    auto const length = std::min(extent.length, bytes - at);
    if (extent.presence != Presence::absent) ranges.push_back({at, length});
    at += length;
  }
  return ranges;
}

Backing backing_for(std::string const& path, std::string const& format, Layer const& parent) {
  auto failure = std::error_code{};
  auto const record = find_format(parent.description.format);
  auto backing = Backing{.path = parent.path, .format = record == nullptr ? "" : record->name};
  if (is_url(parent.path)) return backing;
  auto const there = std::filesystem::weakly_canonical(parent.path, failure);
  auto const here = std::filesystem::weakly_canonical(path, failure);
  auto const by_name = format != "vdi" && format != "vhd" && there.parent_path() == here.parent_path();
  backing.path = by_name ? there.filename().string() : there.string();
  return backing;
}

}  // namespace vireo::image
