#pragma once

#include <functional>
#include <memory>
#include <mutex>
#include <span>

#include "image/jobs/disk_filter.h"
#include "image/jobs/open_disk.h"
#include "image/jobs/request_gate.h"

namespace vireo::image {

/// A disk that a device holds while what is behind it changes: jobs swap its chain of images and watch its
/// changes. Any thread, several at once. Size and sector are what the guest was told, whatever comes.
class LiveDisk final : public BlockImage {
 public:
  static Result<std::shared_ptr<LiveDisk>> open(DiskSource source);
  /// One that has no name: jobs can copy it, and nothing else.
  static std::shared_ptr<LiveDisk> of(std::unique_ptr<BlockImage> image);

  Geometry geometry() const override { return geometry_; }
  Result<> read(u64 at, Bytes into) override;
  Result<> write(u64 at, ConstBytes from) override;
  Result<> write_zeroes(u64 at, u64 length, bool may_unmap) override;
  Result<> discard(u64 at, u64 length) override;
  Result<> flush() override;
  Result<Extent> extent_at(u64 at) override;
  Result<Place> place_at(u64 at) override;

  /// The image below, among the guest's requests: for jobs. Filters do not see what is done to it.
  template <typename F>
  Result<> with_image(F&& f) {
    auto const pass = RequestGate::Pass{gate_};
    return image_ == nullptr ? gone() : f(*image_);
  }

  /// While the guest's requests wait, and none is under way: `f(Inside&)`. Short, and not from a filter.
  class Inside;
  template <typename F>
  auto exclusively(F&& f);

  bool has_name() const { return named_; }
  /// As it is now.
  DiskSource source() const;

 private:
  LiveDisk(OpenDisk disk, bool named);
  static Result<> gone();
  Result<> change(Change const& change);

  OpenDisk disk_;
  std::unique_ptr<BlockImage> nameless_;
  BlockImage* image_{};  // null: could not be opened again
  bool named_{};
  Geometry geometry_;
  std::vector<std::shared_ptr<DiskFilter>> filters_;  // changes behind a closed gate alone
  mutable std::mutex source_mutex_;                   // for who asks from outside
  std::mutex one_at_a_time_;
  RequestGate gate_;
};

/// A disk that stands still.
class LiveDisk::Inside {
 public:
  explicit Inside(LiveDisk& live) : live_{live} {}
  BlockImage* image() { return live_.image_; }
  OpenDisk& disk() { return live_.disk_; }
  void add(std::shared_ptr<DiskFilter> filter) { live_.filters_.push_back(std::move(filter)); }
  void remove(DiskFilter const* filter);
  /// Closes the handles, runs `f`, and opens the disk again whatever became of it.
  Result<> closed(std::function<Result<>(OpenDisk& disk)> const& f);
  /// The disk goes on in another one; the old one is closed behind it.
  void replace(OpenDisk other);

 private:
  LiveDisk& live_;
};

template <typename F>
auto LiveDisk::exclusively(F&& f) {
  auto const one = std::lock_guard{one_at_a_time_};
  gate_.close();
  struct Opener {
    RequestGate& gate;
    ~Opener() { gate.open(); }
  } const opener{gate_};
  auto inside = Inside{*this};
  return f(inside);
}

/// All of them at one instant; f(span of Inside). The same disk not twice.
Result<> exclusively(std::vector<std::shared_ptr<LiveDisk>> const& disks,
                     std::function<Result<>(std::vector<LiveDisk::Inside*> const&)> const& f);

}  // namespace vireo::image
