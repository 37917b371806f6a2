#pragma once

#include "image/block_image.h"

namespace vireo::image {

/// A change of a disk by its guest.
struct Change {
  enum class Kind : u8 { write, zeroes, discard };
  Kind kind{};
  u64 at{};
  u64 length{};
  ConstBytes bytes{};  // write
  bool may_unmap{};    // zeroes

  Result<> apply_to(BlockImage& image) const {
    switch (kind) {
      case Kind::write: return image.write(at, bytes);
      case Kind::zeroes: return image.write_zeroes(at, length, may_unmap);
      case Kind::discard: return image.discard(at, length);
    }
    return {};
  }
};

/// What a job does around each change, in the thread that brings it; `disk` is what lies below, all of it.
/// Whatever goes wrong here is the job's, never the guest's. It must not wait for who waits for the gate.
class DiskFilter {
 public:
  virtual ~DiskFilter() = default;
  virtual void before(BlockImage& disk, Change const& change) = 0;
  virtual void after(BlockImage& disk, Change const& change, bool done) = 0;
};

}  // namespace vireo::image
