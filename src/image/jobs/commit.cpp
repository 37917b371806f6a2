#include <fmt/format.h>

#include <filesystem>

#include "image/backend.h"
#include "image/formats.h"
#include "image/jobs/chain_place.h"
#include "image/jobs/job_work.h"
#include "image/jobs/layer_stack.h"
#include "image/jobs/mirror_loop.h"
#include "image/jobs/set_parent.h"

namespace vireo::image {
namespace {

Result<> grow(Layer const& base, u64 bytes) {
  auto const& there = base.description;
  if (there.bytes >= bytes) return {};
  if (!there.backing_file.empty() || !there.data_file.empty() || there.encrypted || there.fixed) {
    return fail(Errc::unsupported,
                fmt::format("{}: its disk of {} bytes is too short for one of {}; resize it first", base.path,
                            there.bytes, bytes));
  }
  auto const storage = TRY(Storage::open(base.path, true, CacheMode::writeback));
  return find_format(there.format)->resize(storage, bytes);
}

/// What is written to the base meanwhile is behind layers that hold the same: none of the images above notices,
/// now or after a crash.
class CommitWork final : public JobWork {
 public:
  CommitWork(CommitSpec spec, JobPlace place, JobControl& control)
      : spec_{std::move(spec)}, place_{std::move(place)}, control_{control} {}

  Result<> install(LiveDisk::Inside& disk) override {
    auto const chain = TRY(disk.disk().layers());
    auto const top = spec_.top.empty() ? 0 : TRY(depth_of(chain, spec_.top));
    auto const base = spec_.base.empty() ? top + 1 : TRY(depth_of(chain, spec_.base));
    if (base >= chain.size())
      return fail(Errc::invalid, fmt::format("{}: has no image behind it", chain[top].path));
    if (base <= top) {
      return fail(Errc::invalid, fmt::format("{}: does not lie behind {}", chain[base].path, chain[top].path));
    }
    base_ = chain[base];
    active_ = top == 0;
    if (!active_) above_ = chain[top - 1];
    if (above_) TRY(check_can_set_parent(*above_));
    auto const first = active_ ? std::size_t{1} : top;
    auto const installed = disk.closed([&](OpenDisk& open) -> Result<> {
      auto changed = files_of(base_);
      if (above_) std::ranges::copy(files_of(*above_), std::back_inserter(changed));
      for (auto const& file : changed) TRY(open.locks().hold(file, FileLocks::Kind::exclusive));
      TRY(grow(base_, place_.disk->geometry().bytes));
      into_ = TRY(open.open_layer(base_, true));
      TRY(open.open_image(into_, base_.path));
      between_ = TRY(LayerStack::open(
          open, {chain.begin() + static_cast<i64>(first), chain.begin() + static_cast<i64>(base)}));
      return {};
    });
    if (!installed) {
      release(disk);
      return installed;
    }
    return active_ ? install_mirroring(disk) : Result<>{};
  }

  void uninstall(LiveDisk::Inside& disk) override {
    disk.remove(filter_.get());
    release(disk);
  }

  Result<> run(JobControl& control) override {
    if (spec_.resume) control.note("goes on by comparing");
    auto const outcome = active_ ? commit_active(control) : commit_middle(control);
    if (!outcome) place_.disk->exclusively([&](LiveDisk::Inside& disk) { uninstall(disk); });
    return outcome;
  }

 private:
  Result<> install_mirroring(LiveDisk::Inside& disk) {
    auto const bytes = place_.disk->geometry().bytes;
    filter_ = TRY(Mirroring::create(*into_, bytes, control_));
    auto const of_top = ranges_held([&](u64 at) { return disk.image()->extent_at(at); }, bytes);
    auto const of_rest = ranges_held([&](u64 at) { return between_.extent_at(at); }, bytes);
    for (auto const& range : TRY(of_top)) filter_->mark(range.start, range.length);
    for (auto const& range : TRY(of_rest)) filter_->mark(range.start, range.length);
    disk.add(filter_);
    return {};
  }

  /// The base is again what lies behind, and for reading.
  void release(LiveDisk::Inside& disk) {
    between_ = {};
    static_cast<void>(disk.closed([&](OpenDisk& open) -> Result<> {
      into_.reset();
      return open.settle_locks();
    }));
  }

  Result<> commit_active(JobControl& control) {
    return run_mirror({.disk = *place_.disk,
                       .filter = *filter_,
                       .compare = spec_.resume,
                       .pivot = [&](LiveDisk::Inside& disk) { return pivot(disk); },
                       .detach = [&](LiveDisk::Inside& disk) -> Result<> {
                         release(disk);
                         return {};
                       }},
                      control);
  }

  Result<> pivot(LiveDisk::Inside& disk) {
    auto next = place_.disk->source();
    next.path = is_url(base_.path) ? base_.path : std::filesystem::path{base_.path}.lexically_normal().string();
    next.format = base_.description.format;
    auto bitmaps = bitmaps_of(*disk.image());
    next.track_changes = next.track_changes || !bitmaps.empty();
    if (place_.on_move) TRY(place_.on_move(place_.name, next));
    between_ = {};
    TRY(disk.closed([&](OpenDisk& open) -> Result<> {
      into_.reset();
      return open.become(next);
    }));
    give_bitmaps(*disk.image(), std::move(bitmaps));
    return {};
  }

  Result<> commit_middle(JobControl& control) {
    auto const bytes = place_.disk->geometry().bytes;
    auto piece = Piece{};
    for (auto at = u64{0}; at < bytes;) {
      control.progress(at, bytes);
      auto const extent = TRY(between_.extent_at(at));
      auto const length = std::min({extent.length, bytes - at, Piece::largest});
      if (extent.presence == BlockImage::Presence::absent) {
        at += std::min(extent.length, bytes - at);
        if (control.is_cancelled()) return fail(Errc::gone, "cancelled");
        continue;
      }
      TRY(piece.read(between_, at, length));
      TRY(piece.write(*into_, spec_.resume));
      TRY(control.pace(length));
      at += length;
    }
    TRY(into_->flush());
    return place_.disk->exclusively([&](LiveDisk::Inside& disk) -> Result<> {
      between_ = {};
      return disk.closed([&](OpenDisk& open) -> Result<> {
        into_.reset();
        TRY(set_parent(*above_, &base_));
        return open.settle_locks();
      });
    });
  }

  CommitSpec spec_;
  JobPlace place_;
  JobControl& control_;
  Layer base_;
  std::optional<Layer> above_;  // the one that names the base at the end
  bool active_{};
  std::shared_ptr<BlockImage> into_;  // the base, for writing
  LayerStack between_;                // what is committed, but the active layer
  std::shared_ptr<Mirroring> filter_;
};

}  // namespace

MadeWork make_work(CommitSpec const& spec, JobPlace place, JobControl& control) {
  TRY(check_has_chain(place));
  return std::make_unique<CommitWork>(spec, std::move(place), control);
}

}  // namespace vireo::image
