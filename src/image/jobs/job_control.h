#pragma once

#include <condition_variable>
#include <functional>
#include <mutex>

#include "image/jobs/job_spec.h"
#include "image/throttle/rate.h"
#include "vocab/result.h"

namespace vireo::image {

/// Between a job's thread and those who watch and steer it. Any thread.
class JobControl {
 public:
  using Observer = std::function<void(JobInfo const&)>;
  JobControl(JobInfo info, Observer observer);

  // For the job.
  /// Waits as the rate wants for so many bytes. Errc::gone: it is to end.
  Result<> pace(u64 bytes);
  void progress(u64 done, u64 total);
  void note(std::string text);
  void ready();
  bool is_ready() const;
  bool is_cancelled() const;
  bool is_to_complete() const;
  /// Until somebody calls, or a while has passed.
  void rest();
  /// Until resume(). Errc::gone: it is to end.
  Result<> pause(Error const& reason);
  void end(Result<> const& outcome);

  // For the others.
  JobInfo info() const;
  void cancel();
  /// Errc::busy unless it is ready.
  Result<> complete();
  Result<> resume();
  void set_rate(u64 bytes_a_second);
  void wake();
  JobInfo wait_until_ended_or(std::function<bool(JobInfo const&)> const& enough, u64 milliseconds);

 private:
  void tell(std::unique_lock<std::mutex>& lock);
  Observer observer_;
  mutable std::mutex mutex_;  // the rest
  std::condition_variable changed_;
  JobInfo info_;
  Rate rate_;
  bool cancelled_{};
  bool completing_{};
  bool woken_{};
};

}  // namespace vireo::image
