#include "image/jobs/job_table.h"

#include <fmt/format.h>

#include <algorithm>

namespace vireo::image {
namespace {

std::string disk_of(JobSpec const& spec) {
  return std::visit([](auto const& each) { return each.disk; }, spec);
}

JobInfo info_of(StreamSpec const& spec) {
  return {.kind = "stream", .disk = spec.disk, .target = spec.base, .rate = spec.rate};
}
JobInfo info_of(CommitSpec const& spec) {
  return {.kind = "commit", .disk = spec.disk, .target = spec.base, .rate = spec.rate};
}
JobInfo info_of(MirrorSpec const& spec) {
  return {.kind = "mirror", .disk = spec.disk, .target = spec.target.path, .rate = spec.rate};
}
JobInfo info_of(BackupSpec const& spec) {
  return {.kind = "backup", .disk = spec.disk, .target = spec.target.path, .rate = spec.rate};
}

}  // namespace

void JobTable::end_all() {
  auto const one = std::lock_guard{starting_};
  auto ending = Jobs{};
  {
    auto const lock = std::lock_guard{mutex_};
    ending.swap(jobs_);
    disks_.clear();
  }
  for (auto const& [id, job] : ending) job->control.cancel();
  for (auto const& [id, job] : ending) job->join();
}

void JobTable::add_disk(std::string name, std::shared_ptr<LiveDisk> disk) {
  auto const lock = std::lock_guard{mutex_};
  disks_[std::move(name)] = std::move(disk);
}

Result<std::shared_ptr<LiveDisk>> JobTable::disk(std::string const& name) const {
  auto const lock = std::lock_guard{mutex_};
  auto const found = disks_.find(name);
  if (found != disks_.end()) return found->second;
  auto names = std::string{};
  for (auto const& [each, disk] : disks_) names += (names.empty() ? "" : ", ") + each;
  return fail(Errc::not_found,
              fmt::format("disk '{}': there is none; {}", name, names.empty() ? "none at all" : names));
}

std::vector<std::string> JobTable::disks() const {
  auto const lock = std::lock_guard{mutex_};
  auto names = std::vector<std::string>{};
  for (auto const& [name, disk] : disks_) names.push_back(name);
  return names;
}

Result<std::shared_ptr<JobTable::Job>> JobTable::find(std::string const& id) const {
  auto const lock = std::lock_guard{mutex_};
  auto const found = jobs_.find(id);
  if (found != jobs_.end()) return found->second;
  return fail(Errc::not_found, fmt::format("job '{}': there is none", id));
}

Result<> JobTable::check_chain_is_free(std::string const& disk) const {
  auto const lock = std::lock_guard{mutex_};
  for (auto const& [id, job] : jobs_) {
    auto const info = job->control.info();
    if (!job->changes_chain || info.disk != disk || info.ended()) continue;
    return fail(Errc::busy,
                fmt::format("disk '{}': job {} works on its images; wait for it, or cancel it", disk, id));
  }
  return {};
}

Result<> JobTable::snapshot(std::vector<SnapshotSpec> const& specs) {
  auto const one = std::lock_guard{starting_};
  auto snapshots = std::vector<DiskSnapshot>{};
  for (auto const& spec : specs) {
    auto disk = TRY(this->disk(spec.disk));
    TRY(check_chain_is_free(spec.disk));
    snapshots.push_back({{std::move(disk), spec.disk, on_move_}, spec.path, spec.format, spec.options});
  }
  return snapshot_disks(snapshots);
}

Result<std::shared_ptr<JobTable::Job>> JobTable::prepare(JobSpec const& spec, std::shared_ptr<LiveDisk> disk) {
  auto info = std::visit([](auto const& each) { return info_of(each); }, spec);
  auto const changes_chain = !std::holds_alternative<BackupSpec>(spec);
  if (changes_chain) TRY(check_chain_is_free(info.disk));
  info.id = fmt::format("{}-{}", info.kind, ++started_[info.kind]);
  auto place = JobPlace{std::move(disk), info.disk, on_move_};
  auto job = std::make_shared<Job>(std::move(info), observer_);
  job->changes_chain = changes_chain;
  job->work =
      TRY(std::visit([&](auto const& each) { return make_work(each, std::move(place), job->control); }, spec));
  return job;
}

void JobTable::run(Job& job) {
  auto const outcome = job.work->run(job.control);
  job.work.reset();  // handles and locks go before anybody hears of it
  job.control.end(outcome);
}

Result<std::string> JobTable::start(JobSpec const& spec) {
  auto const ids = TRY(start_all({spec}));
  return ids.front();
}

Result<std::vector<std::string>> JobTable::start_all(std::vector<JobSpec> const& specs) {
  auto const one = std::lock_guard{starting_};
  auto jobs = std::vector<std::shared_ptr<Job>>{};
  auto disks = std::vector<std::shared_ptr<LiveDisk>>{};
  auto const installed = [&]() -> Result<> {
    for (auto const& spec : specs) {
      auto disk = TRY(this->disk(disk_of(spec)));
      if (std::ranges::find(disks, disk) != disks.end()) {
        return fail(Errc::invalid, fmt::format("disk '{}': two jobs at one instant", disk_of(spec)));
      }
      disks.push_back(disk);
      jobs.push_back(TRY_IN(disk_of(spec), prepare(spec, std::move(disk))));
    }
    return exclusively(disks, [&](std::vector<LiveDisk::Inside*> const& inside) -> Result<> {
      for (auto index = std::size_t{0}; index < jobs.size(); ++index) {
        auto done = jobs[index]->work->install(*inside[index]);
        if (done) continue;
        for (auto other = std::size_t{0}; other <= index; ++other) jobs[other]->work->uninstall(*inside[other]);
        return std::unexpected{std::move(done).error().in(disk_of(specs[index]))};
      }
      return {};
    });
  }();
  if (!installed) {
    for (auto const& job : jobs) {
      if (job->work) job->work->abandon();
    }
    return std::unexpected{installed.error()};
  }
  auto ids = std::vector<std::string>{};
  auto const lock = std::lock_guard{mutex_};
  for (auto const& job : jobs) {
    ids.push_back(job->control.info().id);
    jobs_[ids.back()] = job;
    job->thread = std::jthread{[&each = *job] { run(each); }};
  }
  return ids;
}

std::vector<JobInfo> JobTable::list() const {
  auto const lock = std::lock_guard{mutex_};
  auto all = std::vector<JobInfo>{};
  for (auto const& [id, job] : jobs_) all.push_back(job->control.info());
  return all;
}

Result<JobInfo> JobTable::info(std::string const& id) const { return TRY(find(id))->control.info(); }

Result<> JobTable::cancel(std::string const& id) {
  TRY(find(id))->control.cancel();
  return {};
}

Result<> JobTable::complete(std::string const& id) { return TRY(find(id))->control.complete(); }
Result<> JobTable::resume(std::string const& id) { return TRY(find(id))->control.resume(); }

Result<> JobTable::set_rate(std::string const& id, u64 bytes_a_second) {
  TRY(find(id))->control.set_rate(bytes_a_second);
  return {};
}

Result<JobInfo> JobTable::wait(std::string const& id, std::function<bool(JobInfo const&)> const& enough,
                               u64 milliseconds) {
  auto const job = TRY(find(id));
  auto const nothing = [](JobInfo const&) { return false; };
  return job->control.wait_until_ended_or(enough ? enough : nothing, milliseconds);
}

Result<> JobTable::forget(std::string const& id) {
  auto const job = TRY(find(id));
  if (!job->control.info().ended()) return fail(Errc::busy, fmt::format("job {}: has not ended", id));
  auto forgotten = Jobs::node_type{};  // its thread ends without the lock
  auto const lock = std::lock_guard{mutex_};
  forgotten = jobs_.extract(id);
  return {};
}

}  // namespace vireo::image
