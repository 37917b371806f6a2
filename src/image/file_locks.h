#pragma once

#include <string>
#include <vector>

#include "host/file.h"

namespace vireo::image {

/// Locks of files apart from the handles that read and write them: a disk can be closed and opened anew, and
/// nobody takes it in between. One thread at a time.
class FileLocks {
 public:
  using Kind = host::File::Lock;

  /// Takes the lock, or makes one that is held stronger or weaker. Errc::busy leaves what was held.
  Result<> hold(std::string const& path, Kind kind);
  /// Gives up all others.
  void keep_only(std::vector<std::string> const& paths);
  bool covers(host::File::Identity const& identity, Kind kind) const;

 private:
  struct Held {
    host::File file;
    Kind kind{};
  };
  std::vector<Held> held_;
};

}  // namespace vireo::image
