#pragma once

#include <string>
#include <variant>
#include <vector>

#include "vocab/integers.h"
#include "vocab/result.h"

namespace vireo::image {

struct SnapshotInfo {
  std::string id;
  std::string name;
  u64 seconds{};  // since 1970
  u32 nanoseconds{};
  u64 clock_ns{};  // of the machine
  u64 machine_state_bytes{};
  u64 disk_bytes{};
};

/// What only this format has, by qemu-img's names.
struct Fact;
struct FactList {
  std::vector<Fact> facts;  // no initializer: Fact is not complete here
  bool is_array{};          // the facts have no keys
};
struct Fact {
  std::string key;
  std::variant<bool, u64, std::string, FactList> value;
};

/// What an image says about itself; nothing behind it was opened.
struct Description {
  std::string format{};
  u64 bytes{};                 // of the disk
  u64 cluster{};               // 0: the format has none
  std::string backing_file{};  // as written; may be a bare UUID
  std::string backing_path{};  // as found from here; empty: not known
  std::string backing_format{};
  bool dirty{};
  bool corrupt{};
  bool encrypted{};
  bool fixed{};  // each block keeps its place
  bool flat{};   // the disk's bytes lie in a row: a place for each
  std::vector<Fact> facts{};
  std::vector<SnapshotInfo> snapshots{};
  std::vector<std::string> files{};  // all that make up this layer
  std::string data_file{};           // qcow2: where the disk lies; not one of `files`, since the image names it
};

/// `format` empty: by content.
Result<Description> describe_image(std::string const& path, std::string const& format = {});

/// Bytes that the files take on their disk.
u64 host_bytes(Description const& description);

}  // namespace vireo::image
