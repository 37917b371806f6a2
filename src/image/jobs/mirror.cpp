#include <fmt/format.h>

#include <filesystem>

#include "image/formats.h"
#include "image/jobs/job_work.h"
#include "image/jobs/layer_stack.h"
#include "image/jobs/mirror_loop.h"
#include "image/jobs/mirroring.h"
#include "image/jobs/target_image.h"

namespace vireo::image {
namespace {

class MirrorWork final : public JobWork {
 public:
  MirrorWork(MirrorSpec spec, JobPlace place, TargetImage target, std::shared_ptr<Mirroring> filter)
      : spec_{std::move(spec)},
        place_{std::move(place)},
        target_{std::move(target)},
        filter_{std::move(filter)} {}

  Result<> install(LiveDisk::Inside& disk) override {
    if (spec_.sync == MirrorSpec::Sync::full) {
      filter_->mark(0, place_.disk->geometry().bytes);
    } else {
      auto const held =
          ranges_held([&](u64 at) { return disk.image()->extent_at(at); }, place_.disk->geometry().bytes);
      for (auto const& range : TRY(held)) filter_->mark(range.start, range.length);
    }
    disk.add(filter_);
    return {};
  }

  void uninstall(LiveDisk::Inside& disk) override { disk.remove(filter_.get()); }
  void abandon() override { target_.remove(); }

  Result<> run(JobControl& control) override {
    if (!target_.note().empty()) control.note(target_.note());
    auto const outcome = run_mirror({.disk = *place_.disk,
                                     .filter = *filter_,
                                     .compare = target_.compare(),
                                     .on_target_error = spec_.on_target_error,
                                     .pivot = [&](LiveDisk::Inside& disk) { return pivot(disk); },
                                     .detach = [&](LiveDisk::Inside&) { return target_.finish(); }},
                                    control);
    if (!outcome) {
      place_.disk->exclusively([&](LiveDisk::Inside& disk) { disk.remove(filter_.get()); });
      if (outcome.error().code() == Errc::gone) target_.remove();
      target_.close();
    }
    return outcome;
  }

 private:
  /// From here on the record would lead a resumed mirror to overwrite what the guest wrote to the target.
  Result<> pivot(LiveDisk::Inside& disk) {
    give_bitmaps(target_.image(), bitmaps_of(*disk.image()));
    if (place_.on_move) TRY(place_.on_move(place_.name, target_.source()));
    TRY(target_.finish());
    disk.replace(target_.take());
    return {};
  }

  MirrorSpec spec_;
  JobPlace place_;
  TargetImage target_;
  std::shared_ptr<Mirroring> filter_;
};

}  // namespace

MadeWork make_work(MirrorSpec const& spec, JobPlace place, JobControl& control) {
  auto const source = place.disk->source();
  auto target = spec.target;
  auto format = std::string{"qcow2"};
  if (place.disk->geometry().read_only) {
    return fail(Errc::denied,
                fmt::format("{}: is read only; copy it with \"vireo image convert\"", place.name));
  }
  if (place.disk->has_name()) {
    auto const chain = TRY(read_chain(source.path, source.format, source.follow_references));
    format = chain.front().description.format;
    if (spec.sync == MirrorSpec::Sync::top) {
      if (chain.size() < 2) {
        return fail(Errc::invalid, fmt::format("{}: has no image behind it; sync=top needs one", source.path));
      }
      target.backing = backing_for(target.path, target.format.empty() ? format : target.format, chain[1]);
    }
  } else if (spec.sync == MirrorSpec::Sync::top) {
    return fail(Errc::invalid, fmt::format("{}: has no chain of images", place.name));
  }
  auto tracks = false;
  TRY(place.disk->with_image([&](BlockImage& image) -> Result<> {
    tracks = !bitmaps_of(image).empty();
    return {};
  }));
  auto made = TRY(TargetImage::open(target, {.kind = "mirror",
                                             .disk = place.disk->has_name() ? source.path : place.name,
                                             .bytes = place.disk->geometry().bytes,
                                             .format = format,
                                             .cache = source.cache,
                                             .track_changes = tracks,
                                             .resume = spec.resume}));
  auto filter = TRY(Mirroring::create(made.image(), place.disk->geometry().bytes, control));
  return std::make_unique<MirrorWork>(spec, std::move(place), std::move(made), std::move(filter));
}

}  // namespace vireo::image
