#pragma once

#include <map>
#include <string>
#include <variant>
#include <vector>

#include "image/operations/create.h"
#include "vocab/integers.h"

namespace vireo::image {

/// Where a job writes a disk to.
struct JobTarget {
  std::string path;    // a file, or a URL of what exists
  std::string format;  // empty: of an existing one by content, of a new one as the disk's
  std::map<std::string, std::string> options{};  // of a new one
  bool exists{};                                 // is overwritten; else made
  Backing backing{};                             // of a new one; backup alone
};

enum class OnTargetError : u8 { fail, pause };

/// The data of the images behind comes into the top one, which stands alone then, or on `base`.
struct StreamSpec {
  std::string disk;
  std::string base{};  // of the images behind; empty: none
  u64 rate{};          // bytes a second; 0: as fast as it goes
};

/// What `top` and the layers down to `base` hold comes into `base`. From the active layer (`top` empty) the
/// disk goes on in `base` once complete() is called; otherwise the layer above `top` names `base` at the end.
struct CommitSpec {
  std::string disk;
  std::string top{};
  std::string base{};  // empty: the one behind top
  bool resume{};       // only what differs is written
  u64 rate{};
};

/// The disk comes to the target and is kept the same there; complete() goes on in the target, cancel() leaves a
/// copy of that instant.
struct MirrorSpec {
  enum class Sync : u8 { full, top };
  std::string disk;
  JobTarget target;
  Sync sync{};    // top: only what the top layer holds, over the same backing file
  bool resume{};  // an interrupted one: only what differs is written
  OnTargetError on_target_error{};
  u64 rate{};
};

/// The disk as it is at the start comes to the target, whatever the guest writes meanwhile.
struct BackupSpec {
  std::string disk;
  JobTarget target;
  std::string bitmap{};  // starts anew at that instant
  bool incremental{};    // only what the bitmap marks
  bool resume{};         // a new instant; only what differs is written
  u64 rate{};
};

using JobSpec = std::variant<StreamSpec, CommitSpec, MirrorSpec, BackupSpec>;

enum class JobState : u8 { running, ready, paused, completed, failed, cancelled };
std::string_view name_of(JobState state);

struct JobInfo {
  std::string id{};
  std::string kind{};
  std::string disk{};
  std::string target{};
  JobState state{};
  u64 done{};  // bytes
  u64 total{};
  u64 rate{};
  std::string error{};
  std::string note{};  // how it goes on, or what it left
  bool ended() const {
    return state == JobState::completed || state == JobState::failed || state == JobState::cancelled;
  }
};

}  // namespace vireo::image
