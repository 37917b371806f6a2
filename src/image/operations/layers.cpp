#include "image/operations/layers.h"

#include <fmt/format.h>

#include <algorithm>
#include <filesystem>

#include "image/formats.h"
#include "image/open_image.h"

namespace vireo::image {
namespace {

constexpr std::size_t deepest_chain{64};

bool joins(MapEntry const& before, MapEntry const& next) {
  if (before.depth != next.depth || before.present != next.present || before.zero != next.zero ||
      before.data != next.data || before.offset.has_value() != next.offset.has_value()) {
    return false;
  }
  return !next.offset || *next.offset == *before.offset + before.length;
}

struct OpenLayer {
  std::string path;
  u64 bytes{};
  std::unique_ptr<BlockImage> image;
};

Result<MapEntry> look_up(std::vector<OpenLayer> const& layers, u64 at, u64 bytes) {
  auto entry = MapEntry{.start = at, .length = bytes - at, .zero = true};
  for (auto depth = std::size_t{0}; depth < layers.size(); ++depth) {
    auto const& layer = layers[depth];
    entry.depth = static_cast<u32>(depth);
    if (at >= layer.bytes) return entry;
    auto const place = TRY(layer.image->place_at(at));
    entry.length = std::min(entry.length, place.extent.length);
    if (place.extent.presence == BlockImage::Presence::absent) continue;
    entry.present = true;
    entry.data = place.extent.presence == BlockImage::Presence::data;
    entry.zero = !entry.data || place.hole;
    entry.offset = place.offset;
    entry.file = place.file.empty() ? layer.path : place.file;
    return entry;
  }
  return entry;
}

}  // namespace

Result<std::vector<Layer>> read_chain(std::string const& path, std::string const& format,
                                      bool follow_references) {
  auto chain = std::vector<Layer>{};
  auto next = path;
  auto next_format = format;
  while (true) {
    if (chain.size() >= deepest_chain) {
      return fail(Errc::invalid, fmt::format("{}: more than {} images lie behind it", path, deepest_chain));
    }
    auto description = TRY(describe_image(next, next_format));
    auto const has_parent = !description.backing_file.empty();
    auto const* const record = find_format(description.format);
    next_format = description.backing_format;
    chain.push_back({next, std::move(description)});
    if (!has_parent || !follow_references || record->find_parent == nullptr) return chain;
    auto const storage = TRY(Storage::open(next, false, CacheMode::writeback));
    next = TRY(record->find_parent(storage));
    chain.back().description.backing_path = next;
  }
}

Result<std::vector<MapEntry>> map_image(std::string const& path, std::string const& format,
                                        bool follow_references) {
  auto layers = std::vector<OpenLayer>{};
  for (auto const& each : TRY(read_chain(path, format, follow_references))) {
    auto image = TRY(open_image(
        each.path,
        {.format = each.description.format, .follow_references = follow_references, .layer_only = true}));
    auto const bytes = image->geometry().bytes;
    layers.push_back({each.path, bytes, std::move(image)});
  }
  auto entries = std::vector<MapEntry>{};
  auto const bytes = layers.front().bytes;
  for (auto at = u64{0}; at < bytes;) {
    auto entry = TRY(look_up(layers, at, bytes));
    at += entry.length;
    if (!entries.empty() && joins(entries.back(), entry)) {
      entries.back().length += entry.length;
    } else {
      entries.push_back(std::move(entry));
    }
  }
  return entries;
}

}  // namespace vireo::image
