#pragma once

#include <functional>
#include <string>
#include <string_view>
#include <vector>

#include "machine/image_store.h"

namespace vireo::machine {

struct DebianBuild {
  std::string name{"debian"};
  std::string release{"12"};          // or its code name
  u64 size{u64{4} << 30};             // of the disk, bytes; the file is sparse
  std::vector<std::string> packages;  // besides the default ones
  std::string ssh_key;                // a public key for root; empty: none
  std::string root_password{"vireo"};
};

/// Makes a bootable Debian with mmdebstrap from the mirror that this host's apt uses. Needs neither root nor
/// loop devices. `progress` is told each step.
Result<StoredImage> build_debian(ImageStore const& store, DebianBuild const& build,
                                 std::function<void(std::string_view)> const& progress);

}  // namespace vireo::machine
