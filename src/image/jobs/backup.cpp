#include <fmt/format.h>

#include "image/bitmaps/dirty_bitmaps.h"
#include "image/jobs/copy_before_write.h"
#include "image/jobs/job_work.h"
#include "image/jobs/target_image.h"

namespace vireo::image {
namespace {

class BackupWork final : public JobWork {
 public:
  BackupWork(BackupSpec spec, JobPlace place, TargetImage target, std::shared_ptr<CopyBeforeWrite> filter)
      : spec_{std::move(spec)},
        place_{std::move(place)},
        target_{std::move(target)},
        filter_{std::move(filter)} {}

  Result<> install(LiveDisk::Inside& disk) override {
    if (disk.image() == nullptr) return fail(Errc::gone, "the disk is gone");
    if (!spec_.bitmap.empty()) {
      auto* const bitmaps = disk.image()->dirty_bitmaps();
      if (bitmaps == nullptr) {
        return fail(Errc::not_found, fmt::format("{}: has no bitmap '{}'", place_.name, spec_.bitmap));
      }
      taken_ = TRY(bitmaps->take(spec_.bitmap));
    }
    if (spec_.incremental) {
      filter_->mark(*taken_);
    } else {
      filter_->mark_all();
    }
    disk.add(filter_);
    return {};
  }

  void uninstall(LiveDisk::Inside& disk) override { give_back(disk); }
  void abandon() override { target_.remove(); }

  Result<> run(JobControl& control) override {
    if (!target_.note().empty()) control.note(target_.note());
    auto outcome = copy(control);
    if (outcome) outcome = target_.finish();
    place_.disk->exclusively([&](LiveDisk::Inside& disk) {
      if (outcome) taken_.reset();
      give_back(disk);
    });
    if (!outcome && outcome.error().code() == Errc::gone) target_.remove();
    target_.close();
    return outcome;
  }

 private:
  Result<> copy(JobControl& control) {
    auto const total = filter_->pending_bytes();
    while (true) {
      auto const copied = TRY(filter_->copy_next(*place_.disk));
      if (copied == 0) break;
      control.progress(total - std::min(total, filter_->pending_bytes()), total);
      TRY(control.pace(copied));
    }
    return target_.image().flush();
  }

  void give_back(LiveDisk::Inside& disk) {
    disk.remove(filter_.get());
    if (!taken_ || disk.image() == nullptr || disk.image()->dirty_bitmaps() == nullptr) return;
    static_cast<void>(disk.image()->dirty_bitmaps()->merge(spec_.bitmap, *taken_));
    taken_.reset();
  }

  BackupSpec spec_;
  JobPlace place_;
  TargetImage target_;
  std::shared_ptr<CopyBeforeWrite> filter_;
  std::optional<DirtyBitmap> taken_;
};

}  // namespace

MadeWork make_work(BackupSpec const& spec, JobPlace place, JobControl& control) {
  if (spec.incremental && spec.bitmap.empty()) {
    return fail(Errc::invalid, fmt::format("{}: an incremental backup needs a bitmap", place.name));
  }
  auto const source = place.disk->source();
  auto format = std::string{"qcow2"};
  if (place.disk->has_name()) {
    format = TRY(describe_image(source.path, source.format)).format;
  }
  auto made = TRY(TargetImage::open(spec.target, {.kind = "backup",
                                                  .disk = place.disk->has_name() ? source.path : place.name,
                                                  .bytes = place.disk->geometry().bytes,
                                                  .format = format,
                                                  .cache = CacheMode::writeback,
                                                  .resume = spec.resume}));
  auto filter = CopyBeforeWrite::create(made.image(), place.disk->geometry().bytes, control, made.compare());
  return std::make_unique<BackupWork>(spec, std::move(place), std::move(made), TRY(std::move(filter)));
}

}  // namespace vireo::image
