#include "image/jobs/live_disk.h"

#include <algorithm>
#include <ranges>

#include "image/check_range.h"
#include "observe/log.h"

namespace vireo::image {

LiveDisk::LiveDisk(OpenDisk disk, bool named) : disk_{std::move(disk)}, image_{disk_.image()}, named_{named} {}

Result<std::shared_ptr<LiveDisk>> LiveDisk::open(DiskSource source) {
  auto opened = TRY(OpenDisk::open(std::move(source)));
  auto disk = std::shared_ptr<LiveDisk>{new LiveDisk{std::move(opened), true}};
  disk->geometry_ = disk->image_->geometry();
  return disk;
}

std::shared_ptr<LiveDisk> LiveDisk::of(std::unique_ptr<BlockImage> image) {
  auto disk = std::shared_ptr<LiveDisk>{new LiveDisk{{}, false}};
  disk->nameless_ = std::move(image);
  disk->image_ = disk->nameless_.get();
  disk->geometry_ = disk->image_->geometry();
  return disk;
}

DiskSource LiveDisk::source() const {
  auto const lock = std::lock_guard{source_mutex_};
  return disk_.source();
}

Result<> LiveDisk::gone() {
  return fail(Errc::gone, "the disk was closed for a job, and could not be opened again; see the log");
}

Result<> LiveDisk::read(u64 at, Bytes into) {
  TRY(check_range("disk", at, into.size(), geometry_.bytes));
  return with_image([&](BlockImage& image) { return image.read(at, into); });
}

Result<> LiveDisk::change(Change const& change) {
  TRY(check_range("disk", change.at, change.length, geometry_.bytes));
  auto const pass = RequestGate::Pass{gate_};
  if (image_ == nullptr) return gone();
  if (filters_.empty()) [[likely]]
    return change.apply_to(*image_);
  for (auto const& filter : filters_) filter->before(*image_, change);
  auto const outcome = change.apply_to(*image_);
  for (auto const& filter : filters_ | std::views::reverse) filter->after(*image_, change, outcome.has_value());
  return outcome;
}

Result<> LiveDisk::write(u64 at, ConstBytes from) {
  return change({.kind = Change::Kind::write, .at = at, .length = from.size(), .bytes = from});
}

Result<> LiveDisk::write_zeroes(u64 at, u64 length, bool may_unmap) {
  return change({.kind = Change::Kind::zeroes, .at = at, .length = length, .may_unmap = may_unmap});
}

Result<> LiveDisk::discard(u64 at, u64 length) {
  return change({.kind = Change::Kind::discard, .at = at, .length = length});
}

Result<> LiveDisk::flush() {
  return with_image([](BlockImage& image) { return image.flush(); });
}

Result<BlockImage::Extent> LiveDisk::extent_at(u64 at) {
  TRY(check_range("disk", at, 1, geometry_.bytes));
  auto const pass = RequestGate::Pass{gate_};
  if (image_ == nullptr) TRY(gone());
  auto extent = TRY(image_->extent_at(at));
  extent.length = std::min(extent.length, geometry_.bytes - at);
  return extent;
}

Result<BlockImage::Place> LiveDisk::place_at(u64 at) {
  TRY(check_range("disk", at, 1, geometry_.bytes));
  auto const pass = RequestGate::Pass{gate_};
  if (image_ == nullptr) TRY(gone());
  auto place = TRY(image_->place_at(at));
  place.extent.length = std::min(place.extent.length, geometry_.bytes - at);
  return place;
}

void LiveDisk::Inside::remove(DiskFilter const* filter) {
  std::erase_if(live_.filters_, [&](auto const& each) { return each.get() == filter; });
}

Result<> LiveDisk::Inside::closed(std::function<Result<>(OpenDisk&)> const& f) {
  if (live_.image_ == nullptr) return gone();
  TRY(live_.image_->flush());
  auto const lock = std::lock_guard{live_.source_mutex_};
  live_.image_ = nullptr;
  live_.disk_.close_image();
  auto outcome = f(live_.disk_);
  if (live_.disk_.image() == nullptr) {
    auto const opened = live_.disk_.open_image();
    if (!opened) observe::log(observe::Level::error, "image", "cannot go on: {}", opened.error().what());
    if (!opened && outcome) outcome = opened;
  }
  live_.image_ = live_.disk_.image();
  return outcome;
}

void LiveDisk::Inside::replace(OpenDisk other) {
  auto const lock = std::lock_guard{live_.source_mutex_};
  live_.image_ = other.image();
  std::swap(live_.disk_, other);
  other.close_image();  // before its locks go
}

Result<> exclusively(std::vector<std::shared_ptr<LiveDisk>> const& disks,
                     std::function<Result<>(std::vector<LiveDisk::Inside*> const&)> const& f) {
  auto order = std::vector<std::size_t>(disks.size());
  std::ranges::copy(std::views::iota(std::size_t{0}, disks.size()), order.begin());
  std::ranges::sort(order, {},
                    [&](std::size_t index) { return disks[index].get(); });  // no two wait for each other
  auto inside = std::vector<LiveDisk::Inside*>(disks.size());
  auto const enter = [&](auto const& self, std::size_t depth) -> Result<> {
    if (depth == order.size()) return f(inside);
    return disks[order[depth]]->exclusively([&](LiveDisk::Inside& each) {
      inside[order[depth]] = &each;
      return self(self, depth + 1);
    });
  };
  return enter(enter, 0);
}

}  // namespace vireo::image
