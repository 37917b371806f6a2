#include "machine/control/job_verbs.h"

#include <algorithm>

#include "image/formats.h"
#include "machine/control/job_protocol.h"

namespace vireo::machine {
namespace {

using namespace control;
using image::JobState;
using image::JobTable;

constexpr u32 longest_wait_seconds{3600};

Job job_of(image::JobInfo const& info) {
  return {.job = info.id,
          .kind = info.kind,
          .disk = info.disk,
          .target = info.target,
          .state = std::string{name_of(info.state)},
          .error = info.error,
          .note = info.note,
          .done = info.done,
          .total = info.total,
          .rate = info.rate};
}

template <typename Wish>
Result<image::JobTarget> target_of(Wish const& wish) {
  auto target = image::JobTarget{.path = wish.target, .format = wish.format, .exists = wish.exists};
  for (auto const& text : wish.options) {
    auto const equals = text.find('=');
    if (equals == std::string::npos)
      return fail(Errc::invalid, fmt::format("options: '{}' is not KEY=VALUE", text));
    target.options[text.substr(0, equals)] = text.substr(equals + 1);
  }
  return target;
}

Result<std::string_view> known_format(std::string const& name) {
  if (auto const* const format = image::find_format(name)) return format->name;
  return fail(Errc::invalid, fmt::format("format '{}' is not known", name));
}

Result<image::MirrorSpec> mirror_of(DiskMirror const& wish) {
  using Sync = image::MirrorSpec::Sync;
  if (wish.sync != "full" && wish.sync != "top") {
    return fail(Errc::invalid, fmt::format("sync '{}': full or top", wish.sync));
  }
  if (wish.on_target_error != "fail" && wish.on_target_error != "pause") {
    return fail(Errc::invalid, fmt::format("on_target_error '{}': fail or pause", wish.on_target_error));
  }
  return image::MirrorSpec{.disk = wish.disk,
                           .target = TRY(target_of(wish)),
                           .sync = wish.sync == "top" ? Sync::top : Sync::full,
                           .resume = wish.resume,
                           .on_target_error = wish.on_target_error == "pause" ? image::OnTargetError::pause
                                                                              : image::OnTargetError::fail,
                           .rate = wish.rate};
}

Result<image::BackupSpec> backup_of(BackupOfDisk const& wish) {
  auto target = TRY(target_of(wish));
  if (!wish.backing.empty()) target.backing = {wish.backing, TRY(known_format(wish.backing_format))};
  return image::BackupSpec{.disk = wish.disk,
                           .target = std::move(target),
                           .bitmap = wish.bitmap,
                           .incremental = wish.incremental,
                           .resume = wish.resume,
                           .rate = wish.rate};
}

Result<Jobs> start(JobTable& jobs, std::vector<image::JobSpec> const& specs) {
  auto started = Jobs{};
  for (auto const& id : TRY(jobs.start_all(specs))) {
    auto const info = TRY(jobs.info(id));
    started.jobs.push_back(job_of(info));
  }
  return started;
}

Result<Nothing> snapshot(JobTable& jobs, DiskSnapshot const& wish) {
  auto specs = std::vector<JobTable::SnapshotSpec>{};
  for (auto const& each : wish.disks)
    specs.push_back({.disk = each.disk, .path = each.path, .format = each.format});
  TRY(jobs.snapshot(specs));
  return Nothing{};
}

Result<Jobs> backup(JobTable& jobs, DiskBackup const& wish) {
  auto specs = std::vector<image::JobSpec>{};
  for (auto const& each : wish.disks) specs.emplace_back(TRY(backup_of(each)));
  return start(jobs, specs);
}

Result<Job> wait(JobTable& jobs, JobWait const& wish) {
  auto const enough = [&](image::JobInfo const& info) {
    return wish.until_ready && (info.state == JobState::ready || info.state == JobState::paused);
  };
  auto const seconds = std::min(wish.wait_seconds, longest_wait_seconds);
  auto const info = TRY(jobs.wait(wish.job, enough, seconds * u64{1000}));
  return job_of(info);
}

}  // namespace

void add_job_verbs(VerbTable& verbs, JobTable& jobs) {
  verbs.add<DiskSnapshot>("disk-snapshot", "put a new image over each of these disks', all at one instant",
                          [&](DiskSnapshot const& wish) { return snapshot(jobs, wish); });
  verbs.add<DiskStream>(
      "disk-stream", "bring what lies behind a disk's image into it", [&](DiskStream const& wish) {
        return start(jobs, {image::StreamSpec{.disk = wish.disk, .base = wish.base, .rate = wish.rate}});
      });
  verbs.add<DiskCommit>("disk-commit", "bring images of a disk into one behind them",
                        [&](DiskCommit const& wish) {
                          return start(jobs, {image::CommitSpec{.disk = wish.disk,
                                                                .top = wish.top,
                                                                .base = wish.base,
                                                                .resume = wish.resume,
                                                                .rate = wish.rate}});
                        });
  verbs.add<DiskMirror>("disk-mirror", "copy a disk and keep the copy the same, to go on in it",
                        [&](DiskMirror const& wish) -> Result<Jobs> {
                          auto spec = TRY(mirror_of(wish));
                          return start(jobs, {std::move(spec)});
                        });
  verbs.add<DiskBackup>("disk-backup", "copy disks as they are now, all at one instant",
                        [&](DiskBackup const& wish) { return backup(jobs, wish); });
  verbs.add<Nothing>("jobs", "the jobs on the machine's disks", [&](Nothing const&) -> Result<Jobs> {
    auto all = Jobs{};
    for (auto const& info : jobs.list()) all.jobs.push_back(job_of(info));
    return all;
  });
  auto const add_plain = [&](char const* name, char const* help,
                             Result<> (JobTable::*act)(std::string const&)) {
    verbs.add<OneJob>(name, help, [&jobs, act](OneJob const& wish) -> Result<Nothing> {
      TRY((jobs.*act)(wish.job));
      return Nothing{};
    });
  };
  add_plain("job-cancel", "end a job; a mirror that is ready leaves its copy", &JobTable::cancel);
  add_plain("job-complete", "let a disk go on where a job that is ready has brought it", &JobTable::complete);
  add_plain("job-resume", "let a paused job go on", &JobTable::resume);
  add_plain("job-forget", "take a job that has ended off the list", &JobTable::forget);
  verbs.add<JobRate>("job-rate", "change a job's limit in bytes a second; 0: none",
                     [&](JobRate const& wish) -> Result<Nothing> {
                       TRY(jobs.set_rate(wish.job, wish.rate));
                       return Nothing{};
                     });
  verbs.add<JobWait>("job-wait", "the job, when it has ended or the time is over",
                     [&](JobWait const& wish) { return wait(jobs, wish); });
}

}  // namespace vireo::machine
