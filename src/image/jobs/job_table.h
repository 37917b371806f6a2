#pragma once

#include <map>
#include <thread>

#include "image/jobs/job_work.h"
#include "image/jobs/snapshot_disks.h"

namespace vireo::image {

/// The disks of a machine and the jobs on them, each on a thread of its own. Any thread. Errc::not_found for
/// what is not there. One job at a time changes a disk's chain; backups run beside it.
class JobTable {
 public:
  explicit JobTable(JobControl::Observer observer = {}, OnMove on_move = {})
      : observer_{std::move(observer)}, on_move_{std::move(on_move)} {}
  JobTable(JobTable const&) = delete;
  ~JobTable() { end_all(); }

  /// Cancels what runs, and waits; mirrors that are ready leave their copies. The disks go.
  void end_all();

  void add_disk(std::string name, std::shared_ptr<LiveDisk> disk);
  Result<std::shared_ptr<LiveDisk>> disk(std::string const& name) const;
  std::vector<std::string> disks() const;

  struct SnapshotSpec {
    std::string disk;
    std::string path;
    std::string format{};
    std::map<std::string, std::string> options{};
  };
  /// All at one instant, or none.
  Result<> snapshot(std::vector<SnapshotSpec> const& specs);

  /// Yields the job's id.
  Result<std::string> start(JobSpec const& spec);
  /// All of them start at one instant, or none; on different disks.
  Result<std::vector<std::string>> start_all(std::vector<JobSpec> const& specs);

  std::vector<JobInfo> list() const;
  Result<JobInfo> info(std::string const& id) const;
  Result<> cancel(std::string const& id);
  Result<> complete(std::string const& id);
  Result<> resume(std::string const& id);
  Result<> set_rate(std::string const& id, u64 bytes_a_second);
  /// Until it has ended, or `enough`, or so long.
  Result<JobInfo> wait(std::string const& id, std::function<bool(JobInfo const&)> const& enough = {},
                       u64 milliseconds = ~u64{0} >> 24);
  /// Errc::busy while it has not ended.
  Result<> forget(std::string const& id);

 private:
  struct Job {
    Job(JobInfo info, JobControl::Observer observer) : control{std::move(info), std::move(observer)} {}
    JobControl control;
    std::unique_ptr<JobWork> work;
    bool changes_chain{};
    void join() {
      if (thread.joinable()) thread.join();
    }
    std::jthread thread;  // last: it uses the rest
  };
  using Jobs = std::map<std::string, std::shared_ptr<Job>>;
  Result<std::shared_ptr<Job>> find(std::string const& id) const;
  Result<> check_chain_is_free(std::string const& disk) const;
  Result<std::shared_ptr<Job>> prepare(JobSpec const& spec, std::shared_ptr<LiveDisk> disk);
  static void run(Job& job);

  JobControl::Observer observer_;
  OnMove on_move_;
  std::mutex starting_;  // one start or snapshot at a time; before mutex_
  mutable std::mutex mutex_;
  std::map<std::string, std::shared_ptr<LiveDisk>> disks_;
  Jobs jobs_;
  std::map<std::string, u64> started_;  // by kind
};

}  // namespace vireo::image
