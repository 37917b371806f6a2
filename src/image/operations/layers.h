#pragma once

#include <optional>
#include <string>
#include <vector>

#include "image/operations/copy.h"
#include "image/operations/create.h"
#include "image/operations/describe.h"

namespace vireo::image {

struct Layer {
  std::string path;
  Description description;
};
/// An image and what lies behind it, top first; only the top unless references may be followed.
Result<std::vector<Layer>> read_chain(std::string const& path, std::string const& format,
                                      bool follow_references);

struct MapEntry {
  u64 start{};
  u64 length{};
  u32 depth{};     // of the layer that answers
  bool present{};  // some layer says what is there
  bool zero{};
  bool data{};
  std::optional<u64> offset{};  // in `file`, where the data lies there as it is
  std::string file{};
};
/// Where each part of the disk comes from; neighbours that belong together are joined.
Result<std::vector<MapEntry>> map_image(std::string const& path, std::string const& format,
                                        bool follow_references);

struct CommitRequest {
  std::string path;
  std::string format{};
  std::string base{};  // into which of the layers behind; empty: the next
  bool keep{};         // what was committed; else the image is empty afterwards
};
/// Brings what an image holds into the one behind it, which grows if it is smaller.
Result<> commit_image(CommitRequest const& request, Report const& report = {});

struct RebaseRequest {
  std::string path;
  std::string format{};
  Backing backing{};  // an empty path: none; the disk stands alone then
  /// Only the name changes: for when the new file holds what the old one did. Else what differs is copied.
  bool unsafe{};
  bool follow_references{};  // of the old one, and of the new one
};
/// qcow2 is changed in place; other formats are written anew beside the old image, which is removed at the end.
Result<> rebase_image(RebaseRequest const& request, Report const& report = {});

}  // namespace vireo::image
