#pragma once

#include <mutex>

#include "image/qcow2/metadata.h"
#include "vocab/guarded.h"

namespace vireo::image::qcow2 {

/// Lets go of the lock for as long as guest data is read or written in places just looked up, which stay unused
/// by others until this ends.
class DataAccess {
 public:
  using Mutex = RankedMutex<LockRank::image>;
  DataAccess(Metadata& metadata, std::unique_lock<Mutex>& lock)
      : metadata_{metadata}, lock_{lock}, epoch_{metadata.begin_access()} {
    lock_.unlock();
  }
  DataAccess(DataAccess const&) = delete;
  ~DataAccess() {
    lock_.lock();
    metadata_.end_access(epoch_);
  }

 private:
  Metadata& metadata_;
  std::unique_lock<Mutex>& lock_;
  Metadata::Epoch epoch_;
};

}  // namespace vireo::image::qcow2
