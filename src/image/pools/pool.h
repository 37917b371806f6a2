#pragma once

#include <memory>
#include <string>
#include <vector>

#include "image/operations/create.h"

namespace vireo::image {

/// A pool as its owner describes it.
struct PoolSpec {
  std::string name{};
  std::string kind{"directory"};
  std::string location{};       // directory: the folder; nfs: nfs://HOST/EXPORT/FOLDER
  std::string format{"qcow2"};  // of new volumes
  u64 capacity{};               // bytes; 0: as much as there is; nfs: must be stated
  u32 alarm_percent{85};        // of the capacity in use
  u32 promise_percent{200};     // of the capacity may be promised; 0: any amount
};
/// Names, ranges, and that this build has the kind.
Result<> check_pool_spec(PoolSpec const& spec);
/// Of pools and volumes: lower-case letters, digits, '.', '_' and '-', at most 63, a letter or digit first.
Result<> check_pool_name(std::string_view what, std::string_view name);

struct Volume {
  std::string name{};
  std::string format{};
  std::string path{};  // what opens it
  u64 bytes{};         // of the disk: promised
  u64 used{};          // snapshots and bitmaps included
  std::string backing{};
  std::string fault{};  // why it cannot be read; empty: it can
};

struct PoolFigures {
  u64 capacity{};
  u64 promised{};
  u64 used{};
  u64 free{};         // can still be written
  u64 may_promise{};  // to further volumes; the most there is where that is not bounded
  bool alarm{};
};

/// Any thread, any process.
class Pool {
 public:
  virtual ~Pool() = default;
  virtual PoolSpec const& spec() const = 0;
  virtual Result<std::vector<Volume>> volumes() = 0;
  virtual Result<PoolFigures> figures() = 0;
  /// Errc::busy: the name is taken; Errc::no_space: more than may be promised, or `full` and no room for it.
  virtual Result<Volume> create(std::string const& name, u64 bytes, std::string const& format,
                                Preallocation preallocation) = 0;
  /// As resize_image; growing is a promise as above.
  virtual Result<> resize(std::string const& name, u64 bytes, bool shrink) = 0;
  /// Errc::busy: somebody uses it, or another volume lies over it.
  virtual Result<> remove(std::string const& name) = 0;
  /// Errc::not_found names the nearest.
  Result<Volume> find(std::string const& name);
};
/// Makes the folder of a directory pool where it is missing.
Result<std::unique_ptr<Pool>> open_pool(PoolSpec const& spec);

}  // namespace vireo::image
