#pragma once

#include "image/block_map/mapped_image.h"

namespace vireo::image::block_map {

/// Lets go of the lock for as long as guest data is read or written in places just looked up, which stay unused
/// by others until this ends.
class MappedImage::DataAccess {
 public:
  DataAccess(MappedImage& image, Lock& lock) : image_{image}, lock_{lock}, epoch_{image.epoch_} {
    ++image_.in_flight_[epoch_];
    lock_.unlock();
  }
  DataAccess(DataAccess const&) = delete;
  ~DataAccess() {
    lock_.lock();
    auto const found = image_.in_flight_.find(epoch_);
    if (--found->second == 0) image_.in_flight_.erase(found);
  }

 private:
  MappedImage& image_;
  Lock& lock_;
  Epoch epoch_;
};

/// Blocks that only this thread may move, until it ends. Made and ended with the lock held.
class MappedImage::Claim {
 public:
  Claim(MappedImage& image, u64 first, u64 count) : image_{image}, first_{first}, count_{count} {
    for (auto block = first; block < first + count; ++block) image_.claimed_.insert(block);
  }
  Claim(Claim const&) = delete;
  ~Claim() {
    for (auto block = first_; block < first_ + count_; ++block) image_.claimed_.erase(block);
    image_.claims_change_.notify_all();
  }

 private:
  MappedImage& image_;
  u64 first_;
  u64 count_;
};

}  // namespace vireo::image::block_map
