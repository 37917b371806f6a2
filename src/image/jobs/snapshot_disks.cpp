#include "image/jobs/snapshot_disks.h"

#include <fmt/format.h>
#include <unistd.h>

#include "image/formats.h"
#include "image/jobs/chain_place.h"
#include "image/jobs/layer_stack.h"
#include "image/jobs/target_image.h"

namespace vireo::image {
namespace {

constexpr std::string_view kind{"snapshot"};

std::string overlay_format(DiskSnapshot const& snapshot, std::string const& disk_format) {
  if (!snapshot.format.empty()) return snapshot.format;
  auto const* const own = find_format(disk_format);
  return own != nullptr && own->set_parent != nullptr ? disk_format : "qcow2";
}

/// The disk's image becomes one that may be shared before another handle to it is opened, and nobody can take
/// it for writing in between.
class Overlay {
 public:
  Overlay(DiskSnapshot const& wanted, LiveDisk::Inside& disk) : wanted_{wanted}, disk_{disk} {}
  Overlay(Overlay const&) = delete;
  ~Overlay() {
    if (!made_ || switched_) return;
    auto const format = opened_.source().format;
    opened_.close_image();
    opened_ = {};  // its locks, too
    remove_image_files(wanted_.path, format);
    ::unlink(job_record(wanted_.path).c_str());
    static_cast<void>(disk_.disk().settle_locks());
  }

  Result<> make() {
    if (disk_.image() == nullptr) return fail(Errc::gone, "the disk is gone");
    auto const chain = TRY(disk_.disk().layers());
    auto const format = overlay_format(wanted_, chain.front().description.format);
    TRY(disk_.image()->flush());
    auto const source = disk_.disk().source();
    if (read_job_record(wanted_.path).starts_with(kind)) remove_image_files(wanted_.path, format);
    TRY(write_job_record(wanted_.path, kind, source.path));
    for (auto const& file : files_of(chain.front()))
      TRY(disk_.disk().locks().hold(file, FileLocks::Kind::shared));
    auto const created = create_image({.path = wanted_.path,
                                       .format = format,
                                       .bytes = chain.front().description.bytes,
                                       .backing = backing_for(wanted_.path, format, chain.front()),
                                       .options = wanted_.options});
    if (!created) {
      ::unlink(job_record(wanted_.path).c_str());
      static_cast<void>(disk_.disk().settle_locks());
      return created;
    }
    made_ = true;
    bitmaps_ = bitmaps_of(*disk_.image());
    opened_ = TRY(OpenDisk::open({.path = wanted_.path,
                                  .format = format,
                                  .cache = source.cache,
                                  .follow_references = true,
                                  .track_changes = source.track_changes || !bitmaps_.empty()}));
    return {};
  }
  DiskSource const& source() const { return opened_.source(); }
  void go_on_there() {
    switched_ = true;
    give_bitmaps(*opened_.image(), std::move(bitmaps_));
    static_cast<void>(remove_job_record(wanted_.path));
    disk_.replace(std::move(opened_));
  }

 private:
  DiskSnapshot const& wanted_;
  LiveDisk::Inside& disk_;
  bool made_{};
  bool switched_{};
  std::vector<DirtyBitmap> bitmaps_;
  OpenDisk opened_;
};

}  // namespace

Result<> snapshot_disks(std::vector<DiskSnapshot> const& snapshots) {
  auto disks = std::vector<std::shared_ptr<LiveDisk>>{};
  for (auto const& each : snapshots) {
    TRY(check_has_chain(each.place));
    disks.push_back(each.place.disk);
  }
  return exclusively(disks, [&](std::vector<LiveDisk::Inside*> const& inside) -> Result<> {
    auto overlays = std::vector<std::unique_ptr<Overlay>>{};
    for (auto index = std::size_t{0}; index < snapshots.size(); ++index) {
      overlays.push_back(std::make_unique<Overlay>(snapshots[index], *inside[index]));
      TRY_IN(snapshots[index].place.name, overlays.back()->make());
    }
    for (auto index = std::size_t{0}; index < snapshots.size(); ++index) {
      auto const& place = snapshots[index].place;
      if (place.on_move) TRY(place.on_move(place.name, overlays[index]->source()));
    }
    for (auto const& overlay : overlays) overlay->go_on_there();
    return {};
  });
}

}  // namespace vireo::image
