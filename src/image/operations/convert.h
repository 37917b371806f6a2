#pragma once

#include <vector>

#include "image/cache_mode.h"
#include "image/operations/copy.h"
#include "image/operations/create.h"

namespace vireo::image {

struct ConvertRequest {
  std::string source;
  std::vector<std::string> more_sources{};  // behind it, in a row
  std::string source_format{};              // empty: by content
  std::string snapshot{};                   // of the source; empty: as it is now
  bool follow_references{};                 // of the source
  CreateRequest target{};                   // 0 bytes: as the source
  bool target_exists{};                     // is written to, not made
  bool target_is_zero{};                    // with target_exists
  bool compress{};
  bool bitmaps{};                      // those of the source too
  bool skip_broken_bitmaps{};          // else one that is out of date is an error
  u64 sparse{4096};                    // zeroes of so many bytes become holes; 0: none do
  u32 jobs{};                          // 0: as many as there are processors
  CacheMode cache{CacheMode::unsafe};  // of the target
  bool sync{true};                     // on return the target is on stable storage, even in mode unsafe
  CacheMode source_cache{CacheMode::writeback};
};
/// Copies a disk into another image; what is zero takes no space there. An image that it made and could not
/// finish is removed.
Result<> convert_image(ConvertRequest const& request, Report const& report = {});

}  // namespace vireo::image
