#pragma once

#include <string>

#include "image/block_image.h"
#include "image/operations/copy.h"

namespace vireo::image {

struct Comparison {
  bool equal{};
  bool sizes_differ{};  // the longer one goes on with zeroes
  u64 offset{};         // of the first difference
};
Result<Comparison> compare_disks(BlockImage& one, BlockImage& other, Report const& report = {});

/// What an image of a format would take.
struct Measurement {
  u64 required{};
  u64 fully_allocated{};
};
struct MeasureRequest {
  std::string format;
  u64 bytes{};
  BlockImage* source{};  // null: nothing is written yet
  u64 cluster{65536};    // qcow2
  u64 refcount_bits{16};
};
/// As convert makes the file with the format's own defaults; longer only where the source holds zeroes as data.
Result<Measurement> measure_image(MeasureRequest const& request);

}  // namespace vireo::image
