#include <fmt/format.h>

#include <algorithm>
#include <cstring>
#include <filesystem>

#include "image/backend.h"
#include "image/formats.h"
#include "image/open_image.h"
#include "image/operations/bitmap.h"
#include "image/operations/convert.h"
#include "image/operations/layers.h"
#include "image/operations/replace.h"
#include "image/operations/stretches.h"
#include "image/qcow2/qcow2_operations.h"
#include "image/vmdk/vmdk_operations.h"
#include "vocab/numbers.h"

namespace vireo::image {
namespace {

constexpr u64 piece{2 * MiB};
constexpr u64 grain{4096};

Result<std::unique_ptr<BlockImage>> open_below(RebaseRequest const& request) {
  if (request.backing.path.empty()) return nullptr;
  return open_image(name_beside(request.path, request.backing.path),
                    {.format = request.backing.format, .read_only = true, .follow_references = true});
}

/// Where the old disk, seen through absent clusters, differs from the new one below: the image gets it itself.
Result<> keep_content(BlockImage& image, BlockImage* below, Report const& report) {
  auto const bytes = image.geometry().bytes;
  auto old = std::vector<std::byte>(piece);
  auto fresh = std::vector<std::byte>(piece);
  for (auto at = u64{0}; at < bytes;) {
    auto const extent = TRY(image.extent_at(at));
    auto const length = std::min({piece, bytes - at, extent.length});
    if (extent.presence == BlockImage::Presence::data) {
      at += extent.length;
      continue;
    }
    auto const wanted = Bytes{old}.first(length);
    auto const offered = Bytes{fresh}.first(length);
    TRY(image.read(at, wanted));
    std::ranges::fill(offered, std::byte{0});
    if (below != nullptr) TRY(read_padded(*below, at, offered));
    for (auto start = u64{0}; start < length; start += grain) {
      auto const count = std::min(grain, length - start);
      if (std::memcmp(wanted.data() + start, offered.data() + start, count) == 0) continue;
      TRY(image.write(at + start, wanted.subspan(start, count)));
    }
    at += length;
    if (report) report({at, bytes});
  }
  return image.flush();
}

/// Until the name changes the image reads as before: what it gets is what it shows.
Result<> take_what_differs(RebaseRequest const& request, std::string const& format, Report const& report) {
  if (request.unsafe) return {};
  auto const below = TRY(open_below(request));
  auto const image =
      TRY(open_image(request.path, {.format = format, .follow_references = request.follow_references}));
  return keep_content(*image, below.get(), report);
}

Result<> rebase_split_vmdk(RebaseRequest const& request, Report const& report) {
  auto const bitmaps = TRY(KeptBitmaps::begin({request.path, "vmdk"}));
  TRY(take_what_differs(request, "vmdk", report));
  {
    auto const storage = TRY(Storage::open(request.path, true, CacheMode::writeback));
    TRY(storage.lock());
    TRY(vmdk::set_parent(storage, request.backing.path));
  }
  return bitmaps.finish();
}

Result<> rebase_qcow2(RebaseRequest const& request, Report const& report) {
  TRY(take_what_differs(request, "qcow2", report));
  auto const storage = TRY(Storage::open(request.path, true, CacheMode::writeback));
  TRY(storage.lock());
  return qcow2::set_backing(storage, request.backing);
}

/// What the layer itself holds.
Result<> copy_layer(BlockImage& layer, BlockImage& target, Report const& report) {
  auto const bytes = layer.geometry().bytes;
  auto buffer = std::vector<std::byte>(piece);
  for (auto at = u64{0}; at < bytes;) {
    auto const extent = TRY(layer.extent_at(at));
    auto const length = std::min({piece, bytes - at, extent.length});
    if (extent.presence == BlockImage::Presence::zero) TRY(target.write_zeroes(at, length, true));
    if (extent.presence == BlockImage::Presence::data) {
      TRY(layer.read(at, Bytes{buffer}.first(length)));
      TRY(target.write(at, Bytes{buffer}.first(length)));
    }
    at += length;
    if (report) report({at, bytes});
  }
  return target.flush();
}

Result<> make_anew(RebaseRequest const& request, Description const& description, Report const& report) {
  if (!request.unsafe) {  // before anything is moved: is all there that will be read?
    TRY(open_image(
        request.path,
        {.format = description.format, .read_only = true, .follow_references = request.follow_references}));
  }
  TRY(open_below(request));
  auto const bitmaps = TRY(KeptBitmaps::begin({request.path, description.format}));
  auto replacement = TRY(Replacement::begin(request.path, description));
  TRY(replacement.create(description.bytes, request.backing));
  if (request.unsafe) {
    auto const layer = TRY(open_image(
        replacement.old_path(), {.format = description.format, .follow_references = true, .layer_only = true}));
    auto const target =
        TRY(open_image(request.path, {.format = description.format, .follow_references = true}));
    TRY(copy_layer(*layer, *target, report));
  } else {
    TRY(convert_image(
        {.source = replacement.old_path(),
         .source_format = description.format,
         .follow_references = true,
         .target = {.path = request.path, .format = description.format, .backing = request.backing},
         .target_exists = true,
         .target_is_zero = true},
        report));
  }
  TRY(replacement.finish());
  return bitmaps.finish();
}

}  // namespace

Result<> rebase_image(RebaseRequest const& request, Report const& report) {
  auto const description = TRY(describe_image(request.path, request.format));
  if (description.format == "qcow2") return rebase_qcow2(request, report);
  if (!request.backing.path.empty() && description.format == "raw") {
    return fail(Errc::unsupported,
                fmt::format("{}: raw has no place for the name of a backing file", request.path));
  }
  if (!request.backing.path.empty() && request.backing.format != description.format) {
    return fail(Errc::unsupported, fmt::format("{}: below {} lies {} only, not {}", request.path,
                                               description.format, description.format, request.backing.format));
  }
  if (description.format == "vmdk" && description.files.size() > 1) return rebase_split_vmdk(request, report);
  return make_anew(request, description, report);
}

}  // namespace vireo::image
