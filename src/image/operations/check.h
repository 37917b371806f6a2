#pragma once

#include <functional>
#include <string>
#include <vector>

#include "image/storage.h"

namespace vireo::image {

enum class Repair : u8 { none, leaks, all };

struct CheckReport {
  u64 corruptions{};
  u64 leaks{};  // clusters that take space and hold nothing
  u64 corruptions_fixed{};
  u64 leaks_fixed{};
  u64 allocated{};   // clusters of the disk
  u64 fragmented{};  // of these, not behind their neighbour
  u64 compressed{};
  u64 total{};
  u64 end{};                            // behind the last byte in use, in the file
  std::vector<std::string> findings{};  // the first of them, for people

  bool clean() const { return corruptions == corruptions_fixed && leaks == leaks_fixed; }
  void corruption(std::string text);
  void leak(std::string text);
  /// A copy or a mark that a crash left behind: the image is whole without it, and it counts as a leak.
  void stale(std::string text);

 private:
  void note(std::string text);
};

/// Looks through an image's tables and mends what `repair` names: leaks are given back to the file system;
/// what points to a wrong place is made absent. The image must not be open. `format` empty: by content.
Result<CheckReport> check_image(std::string const& path, std::string const& format, Repair repair);

/// For formats that place blocks by a table: finds places outside the file, on metadata and on each other, and
/// space that no block has.
struct PlacedBlock {
  u64 number{};
  u64 at{};
  u64 length{};
};
struct Placement {
  std::vector<PlacedBlock> metadata{};
  std::vector<PlacedBlock> blocks{};
  u64 first{};  // where blocks may begin
  u64 end{};    // and end
  u64 unit{};   // to count leaks in, bytes
  u64 total{};  // blocks of the disk
  /// Makes a block absent, on stable storage by the end of the check.
  std::function<Result<>(u64 number)> clear{};
};
Result<CheckReport> check_placement(Storage const& storage, Placement placement, Repair repair);

}  // namespace vireo::image
