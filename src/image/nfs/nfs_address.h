#pragma once

#include <optional>
#include <string>

#include "vocab/integers.h"
#include "vocab/result.h"

namespace vireo::image::nfs {

/// nfs://HOST/FOLDER/FILE?version=3|4&nfsport=N&mountport=N&uid=N&gid=N&timeout=S&reconnect=S
struct Address {
  std::string host;
  std::string folder;  // what is mounted: an export or a folder in one, from '/' on
  std::string file;
  u64 version{3};
  u64 nfs_port{};    // 0: as the server's portmapper says, 2049 for version 4
  u64 mount_port{};  // version 3 only
  std::optional<u64> uid{};
  std::optional<u64> gid{};
  u64 timeout_seconds{60};    // a server that says nothing for so long is away
  u64 reconnect_seconds{30};  // how long a request waits for a server that is away
};
Result<Address> parse_address(std::string const& url);

}  // namespace vireo::image::nfs
