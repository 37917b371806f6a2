#include "image/operations/preallocate.h"

#include <fmt/format.h>

#include <algorithm>
#include <vector>

#include "host/file.h"
#include "image/backend.h"
#include "image/open_image.h"
#include "image/operations/describe.h"
#include "vocab/numbers.h"

namespace vireo::image {
namespace {

constexpr u64 chunk{2 * MiB};

/// A write of zeroes gives a block its place, whatever the format.
Result<> touch_blocks(BlockImage& image, u64 from, u64 step, u64 length) {
  auto const bytes = image.geometry().bytes;
  auto const zeroes = std::vector<std::byte>(length);
  for (auto at = align_down(from, step); at < bytes; at += step) {
    auto const start = std::max(at, from);
    TRY(image.write(start, ConstBytes{zeroes}.first(std::min({length, bytes - start, at + step - start}))));
  }
  return image.flush();
}

}  // namespace

Result<> preallocate(std::string const& path, std::string const& format, u64 from, Preallocation how) {
  if (how == Preallocation::off) return {};
  auto const flat = [&] {
    auto const description = describe_image(path, format);
    return !description || description->flat;
  }();
  if (how == Preallocation::full || !flat) {
    auto const image = TRY(open_image(path, {.format = format, .follow_references = true}));
    auto const cluster = u64{image->geometry().cluster};
    TRY(how == Preallocation::full ? touch_blocks(*image, from, chunk, chunk)
                                   : touch_blocks(*image, from, cluster, 512));
  }
  if (how == Preallocation::metadata || (is_url(path) && how == Preallocation::full)) return {};
  if (is_url(path))
    return fail(Errc::unsupported, fmt::format("{}: preallocation there is metadata or full", path));
  auto const description = TRY(describe_image(path, format));
  auto files = description.files;
  if (!description.data_file.empty()) files.push_back(description.data_file);
  for (auto const& name : files) {
    auto const file = TRY(host::File::open(name, {.write = true}));
    auto const bytes = TRY(file.size());
    if (file.kind() == host::File::Kind::regular) TRY(file.allocate(0, bytes));
  }
  return {};
}

}  // namespace vireo::image
