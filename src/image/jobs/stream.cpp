#include <fmt/format.h>

#include <filesystem>

#include "image/jobs/chain_place.h"
#include "image/jobs/job_work.h"
#include "image/jobs/layer_stack.h"
#include "image/jobs/piece.h"
#include "image/jobs/range_lock.h"
#include "image/jobs/set_parent.h"

namespace vireo::image {
namespace {

/// Keeps the guest and the job from changing the same range at the same time.
class Ranges final : public DiskFilter {
 public:
  void before(BlockImage&, Change const& change) override { lock.lock(change.at, change.length); }
  void after(BlockImage&, Change const& change, bool) override { lock.unlock(change.at, change.length); }
  RangeLock lock;
};

class StreamWork final : public JobWork {
 public:
  StreamWork(StreamSpec spec, JobPlace place) : spec_{std::move(spec)}, place_{std::move(place)} {}

  Result<> install(LiveDisk::Inside& disk) override {
    auto const chain = TRY(disk.disk().layers());
    if (chain.size() < 2) {
      return fail(Errc::invalid, fmt::format("{}: has no image behind it", chain.front().path));
    }
    TRY(check_can_set_parent(chain.front()));
    auto const end = spec_.base.empty() ? chain.size() : TRY(depth_of(chain, spec_.base));
    if (end < 2)
      return fail(Errc::invalid, fmt::format("{}: lies on {} already", chain.front().path, spec_.base));
    top_ = chain.front();
    if (end < chain.size()) base_ = chain[end];
    below_ = TRY(LayerStack::open(disk.disk(), {chain.begin() + 1, chain.begin() + static_cast<i64>(end)}));
    disk.add(filter_);
    return {};
  }

  void uninstall(LiveDisk::Inside& disk) override { disk.remove(filter_.get()); }

  Result<> run(JobControl& control) override {
    control.note("goes on where it stands");
    auto outcome = pull(control);
    return place_.disk->exclusively([&](LiveDisk::Inside& disk) -> Result<> {
      disk.remove(filter_.get());
      below_ = {};
      TRY(outcome);
      return disk.closed([&](OpenDisk& open) -> Result<> {
        TRY(set_parent(top_, base_ ? &*base_ : nullptr));
        return open.settle_locks();
      });
    });
  }

 private:
  Result<> pull(JobControl& control) {
    auto const total = place_.disk->geometry().bytes;
    for (auto at = u64{0}; at < total;) {
      control.progress(at, total);
      auto const extent = TRY(below_.extent_at(at));
      auto const length = std::min({extent.length, total - at, Piece::largest - at % Piece::largest});
      // Where nothing will be behind, what is absent is zero.
      auto const needed = extent.presence == BlockImage::Presence::data ||
                          (base_ && extent.presence == BlockImage::Presence::zero);
      if (!needed) {
        at += std::min(extent.length, total - at);
        if (control.is_cancelled()) return fail(Errc::gone, "cancelled");
        continue;
      }
      TRY(pull_range(at, length));
      TRY(control.pace(length));
      at += length;
    }
    return place_.disk->flush();
  }

  Result<> pull_range(u64 at, u64 length) {
    return place_.disk->with_image([&](BlockImage& image) -> Result<> {
      auto const locked = LockedRange{filter_->lock, at, length};
      for (auto const end = at + length; at < end;) {
        auto const extent = TRY(image.extent_at(at));
        auto const part = std::min(extent.length, end - at);
        if (extent.presence == BlockImage::Presence::absent) {
          TRY(piece_.read(image, at, part));
          TRY(piece_.write(image));
        }
        at += part;
      }
      return {};
    });
  }

  StreamSpec spec_;
  JobPlace place_;
  Layer top_;
  std::optional<Layer> base_;
  LayerStack below_;
  std::shared_ptr<Ranges> filter_{std::make_shared<Ranges>()};
  Piece piece_;
};

}  // namespace

MadeWork make_work(StreamSpec const& spec, JobPlace place, JobControl&) {
  TRY(check_has_chain(place));
  return std::make_unique<StreamWork>(spec, std::move(place));
}

}  // namespace vireo::image
