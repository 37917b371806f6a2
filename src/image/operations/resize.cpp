#include "image/operations/resize.h"

#include <fmt/format.h>

#include <algorithm>
#include <vector>

#include "image/formats.h"
#include "image/open_image.h"
#include "image/operations/bitmap.h"
#include "image/operations/describe.h"
#include "image/operations/preallocate.h"
#include "image/operations/stretches.h"
#include "vocab/numbers.h"
#include "vocab/units.h"

namespace vireo::image {
namespace {

Result<> cut(ResizeRequest const& request, Description const& description) {
  auto const image = TRY(
      open_image(request.path, {.format = description.format, .follow_references = request.follow_references}));
  if (!request.shrink) {
    auto const data = TRY(first_data(*image, request.bytes));
    if (data != ~u64{0}) {
      return fail(
          Errc::denied,
          fmt::format("{}: {} is less than the {} that the disk has, and data at offset {} would be lost; "
                      "--shrink does it all the same",
                      request.path, format_size(request.bytes), format_size(description.bytes), data));
    }
  }
  TRY(image->write_zeroes(request.bytes, description.bytes - request.bytes, true));
  return image->flush();
}

Result<> change(ResizeRequest const& request, Description const& description) {
  auto const storage = TRY(Storage::open(request.path, true, CacheMode::writeback));
  TRY(storage.lock());
  return find_format(description.format)->resize(storage, request.bytes);
}

}  // namespace

Result<> resize_image(ResizeRequest const& asked) {
  auto request = asked;
  if (request.bytes == 0 || request.bytes > u64{1} << 62) {
    return fail(Errc::invalid, fmt::format("{}: a disk of {} bytes", request.path, request.bytes));
  }
  request.bytes = align_up(request.bytes, 512);
  auto const description = TRY(describe_image(request.path, request.format));
  if (request.bytes < description.bytes) TRY(cut(request, description));
  auto const bitmaps = TRY(KeptBitmaps::begin({request.path, description.format}));
  if (request.bytes < description.bytes) {
    TRY(change(request, description));
    return bitmaps.finish();
  }
  auto const over_another =
      !description.backing_file.empty() || !description.data_file.empty() || description.encrypted;
  if (over_another) {  // before anything is changed: may it be followed?
    TRY(open_image(
        request.path,
        {.format = description.format, .read_only = true, .follow_references = request.follow_references}));
  }
  TRY(change(request, description));
  TRY(bitmaps.finish());
  if (over_another && request.bytes > description.bytes) {
    auto const image = TRY(open_image(request.path, {.format = description.format, .follow_references = true}));
    TRY(image->write_zeroes(description.bytes, request.bytes - description.bytes, true));
    TRY(image->flush());
  }
  auto const least = description.fixed ? Preallocation::metadata : Preallocation::off;
  auto const grown = TRY(KeptBitmaps::begin({request.path, description.format}));
  TRY(preallocate(request.path, description.format, description.bytes, std::max(least, request.preallocation)));
  return grown.finish();
}

}  // namespace vireo::image
