#pragma once

#include <functional>
#include <string>
#include <vector>

#include "image/block_image.h"
#include "image/nbd/spec.h"

namespace vireo::image::nbd {

/// A run of the disk and what a metadata context says about it.
struct Status {
  u64 length{};
  u32 flags{};
};

/// More that clients may ask about the disk, such as "qemu:dirty-bitmap:NAME". Any thread.
struct MetaContext {
  std::string name;
  /// What holds from `at` on: at least one byte, at most `length`.
  std::function<Result<Status>(u64 at, u64 length)> status_at;
};

/// A disk under its name on the network. The image outlives the server.
struct Export {
  std::string name{};
  std::string description{};
  BlockImage* image{};
  bool read_only{};
  u64 offset{};  // of the image, where the export begins
  std::vector<MetaContext> contexts{};

  u64 bytes() const { return image->geometry().bytes - offset; }
  u16 transmission_flags() const;
};

/// The context's number on the wire: 0 is base:allocation, then those of the export in their order.
Result<Status> status_at(Export const& served, u32 context, u64 at, u64 length);

}  // namespace vireo::image::nbd
