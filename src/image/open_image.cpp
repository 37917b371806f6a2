#include "image/open_image.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>

#include "image/bitmaps/tracked_image.h"
#include "image/formats.h"
#include "image/operations/snapshot.h"
#include "image/shared_layer.h"
#include "observe/log.h"

namespace vireo::image {
namespace {

constexpr std::size_t deepest_chain{64};
constexpr std::size_t probe_bytes{4096};

Result<ImageFormat const*> probe(Storage const& storage) {
  auto head = std::vector<std::byte>(probe_bytes);
  TRY(storage.read(0, head));
  for (auto const* format : image_formats()) {
    if (format->probe(head)) return format;
  }
  return fail(Errc::unsupported, fmt::format("{}: no known image format", storage.path()));
}

Result<ImageFormat const*> named(std::string_view name) {
  if (auto const* const format = find_format(name)) return format;
  auto names = std::vector<std::string_view>{};
  for (auto const* format : image_formats()) names.push_back(format->name);
  return fail(Errc::invalid,
              fmt::format("image format {}: not known; one of {}", name, fmt::join(names, ", ")));
}

/// With bitmaps beside the image, or where there shall be some.
Result<std::unique_ptr<BlockImage>> tracked(std::unique_ptr<BlockImage> image, std::string const& path,
                                            OpenOptions const& options) {
  auto const there = has_bitmap_sidecar(path);
  if (image->dirty_bitmaps() != nullptr || (!there && !options.track_changes)) return image;
  auto const format = options.format.empty() ? TRY(probe_format(path)) : std::string{options.format};
  auto sidecar = there ? BitmapSidecar::open(path, format) : BitmapSidecar::create(path, format);
  if (sidecar) return std::make_unique<TrackedImage>(std::move(image), *std::move(sidecar));
  if (sidecar.error().code() == Errc::busy || !there) return std::unexpected{std::move(sidecar).error()};
  observe::log(observe::Level::warning, "image", "its dirty bitmaps will be out of date: {}",
               sidecar.error().what());
  return image;
}

}  // namespace

Result<std::unique_ptr<BlockImage>> open_image(std::string const& path, OpenOptions const& options) {
  auto context = OpenContext{.options = options};
  context.options.read_only |= options.layer_only || !options.snapshot.empty();
  if (options.snapshot.empty()) {
    auto image = TRY(open_image_in(path, context));
    if (context.options.read_only) return image;
    return tracked(std::move(image), path, options);
  }
  auto const format = options.format.empty() ? TRY(probe_format(path)) : std::string{options.format};
  context.options.format = "qcow2";
  auto const holds_them = format == "qcow2" && TRY(describe_image(path, format)).data_file.empty();
  return open_image_in(holds_them ? path : snapshot_sidecar(path), std::move(context));
}

Result<std::string> probe_format(std::string const& path) {
  auto const storage = TRY(Storage::open(path, false, CacheMode::writeback));
  return std::string{TRY(probe(storage))->name};
}

Result<std::unique_ptr<BlockImage>> open_image_in(std::string const& path, OpenContext context) {
  if (context.above.size() >= deepest_chain) {
    return fail(Errc::invalid,
                fmt::format("{}: more than {} images lie above it; flatten the chain", path, deepest_chain));
  }
  auto storage = TRY(Storage::open(path, !context.options.read_only, context.options.cache));
  if (std::ranges::find(context.above, storage.identity()) != context.above.end()) {
    return fail(Errc::corrupt, fmt::format("{}: is its own backing file", path));
  }
  auto const* const access = context.options.access;
  if (access != nullptr && access->layer && !context.above.empty() &&
      storage.identity() == access->layer_file) {
    return shared_layer(access->layer);
  }
  TRY(storage.lock(context.locks()));
  context.above.push_back(storage.identity());
  context.probed = context.options.format.empty();
  auto const* const format = TRY(context.probed ? probe(storage) : named(context.options.format));
  return format->open(std::move(storage), std::move(context));
}

}  // namespace vireo::image
