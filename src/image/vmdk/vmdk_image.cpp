#include "image/vmdk/vmdk_image.h"

#include <fmt/format.h>

#include <algorithm>

#include "image/check_range.h"

namespace vireo::image::vmdk {

VmdkImage::VmdkImage(std::vector<Part> parts, Identity identity)
    : parts_{std::move(parts)}, identity_{std::move(identity)}, announced_{identity_.kept} {
  geometry_ = {.bytes = parts_.back().start + parts_.back().bytes,
               .cluster = 4096,
               .read_only = !identity_.storage->writable()};
  for (auto const& part : parts_)
    geometry_.cluster = std::max(geometry_.cluster, part.image->geometry().cluster);
}

VmdkImage::Part& VmdkImage::part_at(u64 at) {
  return *(std::ranges::upper_bound(parts_, at, {}, &Part::start) - 1);
}

template <typename F>
Result<> VmdkImage::for_each_part(u64 at, u64 length, F&& act) {
  while (length != 0) {
    auto& part = part_at(at);
    auto const here = std::min(length, part.start + part.bytes - at);
    TRY(act(*part.image, at - part.start, here));
    at += here;
    length -= here;
  }
  return {};
}

Result<> VmdkImage::check_write(u64 at, u64 length) {
  auto const& path = identity_.storage->path();
  if (geometry_.read_only) return fail(Errc::denied, fmt::format("{}: is opened read-only", path));
  TRY(check_range(path, at, length, geometry_.bytes));
  if (announced_.load(std::memory_order_acquire)) return {};
  auto const lock = std::lock_guard{first_write_};
  if (announced_) return {};
  TRY(write_cid(*identity_.storage, identity_.place, random_cid()));
  announced_.store(true, std::memory_order_release);
  return {};
}

Result<> VmdkImage::read(u64 at, Bytes into) {
  TRY(check_range(identity_.storage->path(), at, into.size(), geometry_.bytes));
  return for_each_part(at, into.size(), [&](BlockImage& image, u64 here, u64 length) {
    auto const part = into.first(length);
    into = into.subspan(length);
    return image.read(here, part);
  });
}

Result<> VmdkImage::write(u64 at, ConstBytes from) {
  TRY(check_write(at, from.size()));
  return for_each_part(at, from.size(), [&](BlockImage& image, u64 here, u64 length) {
    auto const part = from.first(length);
    from = from.subspan(length);
    return image.write(here, part);
  });
}

Result<> VmdkImage::write_zeroes(u64 at, u64 length, bool may_unmap) {
  TRY(check_write(at, length));
  return for_each_part(at, length, [&](BlockImage& image, u64 here, u64 bytes) {
    return image.write_zeroes(here, bytes, may_unmap);
  });
}

Result<> VmdkImage::discard(u64 at, u64 length) {
  TRY(check_write(at, length));
  return for_each_part(at, length,
                       [&](BlockImage& image, u64 here, u64 bytes) { return image.discard(here, bytes); });
}

Result<> VmdkImage::flush() {
  for (auto const& part : parts_) TRY(part.image->flush());
  return {};
}

ConstBytes VmdkImage::view(u64 at, u64 length) {
  if (at >= geometry_.bytes) return {};
  auto const& part = part_at(at);
  auto const there = part.image->geometry().bytes - (at - part.start);
  return part.image->view(at - part.start, std::min(length, there));
}

Result<BlockImage::Place> VmdkImage::place_at(u64 at) {
  TRY(check_range(identity_.storage->path(), at, 1, geometry_.bytes));
  auto const& part = part_at(at);
  auto place = TRY(part.image->place_at(at - part.start));
  place.extent.start = at;
  return place;
}

Result<BlockImage::Extent> VmdkImage::extent_at(u64 at) {
  TRY(check_range(identity_.storage->path(), at, 1, geometry_.bytes));
  auto const& part = part_at(at);
  auto extent = TRY(part.image->extent_at(at - part.start));
  extent.start = at;
  return extent;
}

}  // namespace vireo::image::vmdk
