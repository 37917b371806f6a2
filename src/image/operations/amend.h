#pragma once

#include <map>
#include <string>

#include "vocab/result.h"

namespace vireo::image {

struct AmendRequest {
  std::string path;
  std::string format{};                          // empty: by content
  std::map<std::string, std::string> options{};  // by qemu-img's names
  bool follow_references{};
  bool force{};  // removes the last key of an encrypted disk
};
/// Changes what an image was created with: of luks, and of encrypted qcow2 behind "encrypt.", the keys
/// (state=active, inactive or changed; luks/key_change.h); of qcow2 compat (upwards), lazy_refcounts, size,
/// backing_file and backing_fmt. An option that is what it should be already is taken, others:
/// Errc::unsupported.
Result<> amend_image(AmendRequest const& request);

}  // namespace vireo::image
