#include <fmt/format.h>

#include <algorithm>
#include <filesystem>

#include "image/open_image.h"
#include "image/operations/bitmap.h"
#include "image/operations/layers.h"
#include "image/operations/replace.h"
#include "image/operations/resize.h"
#include "image/operations/stretches.h"
#include "image/vmdk/vmdk_operations.h"
#include "vocab/numbers.h"

namespace vireo::image {
namespace {

constexpr u64 piece{2 * MiB};

/// Everything that the upper layers say, onto the base: what is absent in them is skipped.
Result<> bring_down(std::vector<Layer> const& upper, BlockImage& base, Report const& report) {
  auto layers = std::vector<std::unique_ptr<BlockImage>>{};
  for (auto const& each : upper) {
    layers.push_back(TRY(open_image(
        each.path, {.format = each.description.format, .follow_references = true, .layer_only = true})));
  }
  auto const bytes = layers.front()->geometry().bytes;
  auto buffer = std::vector<std::byte>(piece);
  for (auto at = u64{0}; at < bytes;) {
    auto length = std::min(piece, bytes - at);
    for (auto const& layer : layers) {
      if (at >= layer->geometry().bytes) {
        TRY(base.write_zeroes(at, length, true));
        break;
      }
      auto const extent = TRY(layer->extent_at(at));
      length = std::min(length, extent.length);
      if (extent.presence == BlockImage::Presence::absent) continue;
      auto const part = Bytes{buffer}.first(length);
      if (extent.presence == BlockImage::Presence::data) TRY(layer->read(at, part));
      TRY(extent.presence == BlockImage::Presence::data ? base.write(at, part)
                                                        : base.write_zeroes(at, length, true));
      break;
    }
    at += length;
    if (report) report({at, bytes});
  }
  return base.flush();
}

}  // namespace

Result<> commit_image(CommitRequest const& request, Report const& report) {
  auto const chain = TRY(read_chain(request.path, request.format, true));
  if (chain.size() < 2) {
    return fail(Errc::invalid, fmt::format("{}: has no image behind it to commit to", request.path));
  }
  auto depth = std::size_t{1};
  if (!request.base.empty()) {
    auto failure = std::error_code{};
    while (depth < chain.size() && chain[depth].path != request.base &&
           !std::filesystem::equivalent(chain[depth].path, request.base, failure)) {
      ++depth;
    }
    if (depth == chain.size()) {
      return fail(Errc::not_found,
                  fmt::format("{}: {} is none of the images behind it", request.path, request.base));
    }
  }
  auto const& base = chain[depth];
  auto const upper = std::vector<Layer>{chain.begin(), chain.begin() + static_cast<std::ptrdiff_t>(depth)};
  if (base.description.bytes < chain[0].description.bytes) {
    TRY(resize_image({.path = base.path,
                      .format = base.description.format,
                      .bytes = chain[0].description.bytes,
                      .follow_references = true}));
  }
  {
    auto const image =
        TRY(open_image(base.path, {.format = base.description.format, .follow_references = true}));
    TRY(bring_down(upper, *image, report));
  }
  // With snapshots of its own the image stays as it is: it holds what the one behind it has now, too.
  if (request.keep || depth != 1 || !chain[0].description.snapshots.empty()) return {};
  auto const bitmaps = TRY(KeptBitmaps::begin({chain[0].path, chain[0].description.format}));
  if (chain[0].description.format == "vmdk" && chain[0].description.files.size() > 1) {
    {
      auto const storage = TRY(Storage::open(chain[0].path, true, CacheMode::writeback));
      TRY(vmdk::make_empty(storage));
    }
    return bitmaps.finish();
  }
  auto replacement = TRY(Replacement::begin(chain[0].path, chain[0].description));
  TRY(replacement.create(chain[0].description.bytes, replacement.same_backing()));
  TRY(replacement.finish());
  return bitmaps.finish();
}

}  // namespace vireo::image
