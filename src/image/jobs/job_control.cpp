#include "image/jobs/job_control.h"

#include <fmt/format.h>

#include <chrono>

#include "host/clock.h"

namespace vireo::image {
namespace {

constexpr auto longest_rest = std::chrono::milliseconds{100};

std::unexpected<Error> end_of_job() { return fail(Errc::gone, "cancelled"); }

}  // namespace

std::string_view name_of(JobState state) {
  switch (state) {
    case JobState::running: return "running";
    case JobState::ready: return "ready";
    case JobState::paused: return "paused";
    case JobState::completed: return "completed";
    case JobState::failed: return "failed";
    case JobState::cancelled: return "cancelled";
  }
  return "unknown";
}

JobControl::JobControl(JobInfo info, Observer observer)
    : observer_{std::move(observer)}, info_{std::move(info)}, rate_{info_.rate, 0} {}

/// The observer runs without the lock.
void JobControl::tell(std::unique_lock<std::mutex>& lock) {
  auto const info = info_;
  lock.unlock();
  changed_.notify_all();
  if (observer_) observer_(info);
}

Result<> JobControl::pace(u64 bytes) {
  auto lock = std::unique_lock{mutex_};
  auto until = rate_.take(bytes, host::monotonic_ns());
  while (!cancelled_) {
    auto const now = host::monotonic_ns();
    if (until <= now) return {};
    auto const rate = info_.rate;
    changed_.wait_for(lock, std::chrono::nanoseconds{until - now});
    if (info_.rate != rate) until = 0;
  }
  return end_of_job();
}

void JobControl::progress(u64 done, u64 total) {
  auto const lock = std::lock_guard{mutex_};
  info_.done = std::min(done, total);
  info_.total = total;
}

void JobControl::note(std::string text) {
  auto const lock = std::lock_guard{mutex_};
  info_.note = std::move(text);
}

void JobControl::ready() {
  auto lock = std::unique_lock{mutex_};
  if (info_.state == JobState::ready) return;
  info_.state = JobState::ready;
  tell(lock);
}

bool JobControl::is_ready() const {
  auto const lock = std::lock_guard{mutex_};
  return info_.state == JobState::ready;
}

bool JobControl::is_cancelled() const {
  auto const lock = std::lock_guard{mutex_};
  return cancelled_;
}

bool JobControl::is_to_complete() const {
  auto const lock = std::lock_guard{mutex_};
  return completing_;
}

void JobControl::rest() {
  auto lock = std::unique_lock{mutex_};
  changed_.wait_for(lock, longest_rest, [this] { return woken_ || cancelled_ || completing_; });
  woken_ = false;
}

Result<> JobControl::pause(Error const& reason) {
  auto lock = std::unique_lock{mutex_};
  if (cancelled_) return end_of_job();
  info_.state = JobState::paused;
  info_.error = reason.what();
  tell(lock);
  lock.lock();
  changed_.wait(lock, [this] { return cancelled_ || info_.state != JobState::paused; });
  return cancelled_ ? Result<>{end_of_job()} : Result<>{};
}

void JobControl::end(Result<> const& outcome) {
  auto lock = std::unique_lock{mutex_};
  auto const let_be = info_.state == JobState::ready && cancelled_ && !completing_;
  info_.state = outcome ? (let_be ? JobState::cancelled : JobState::completed)
                        : (cancelled_ ? JobState::cancelled : JobState::failed);
  if (info_.state == JobState::completed) info_.done = info_.total;
  if (info_.state == JobState::failed) info_.error = outcome.error().what();
  tell(lock);
}

JobInfo JobControl::info() const {
  auto const lock = std::lock_guard{mutex_};
  return info_;
}

void JobControl::cancel() {
  {
    auto const lock = std::lock_guard{mutex_};
    if (info_.ended()) return;
    cancelled_ = true;
  }
  changed_.notify_all();
}

Result<> JobControl::complete() {
  {
    auto const lock = std::lock_guard{mutex_};
    if (info_.state != JobState::ready) {
      return fail(Errc::busy, fmt::format("job {}: is {}; it can be completed when it is ready", info_.id,
                                          name_of(info_.state)));
    }
    completing_ = true;
  }
  changed_.notify_all();
  return {};
}

Result<> JobControl::resume() {
  auto lock = std::unique_lock{mutex_};
  if (info_.state != JobState::paused) {
    return fail(Errc::busy, fmt::format("job {}: is {}, not paused", info_.id, name_of(info_.state)));
  }
  info_.state = JobState::running;
  info_.error.clear();
  tell(lock);
  return {};
}

void JobControl::set_rate(u64 bytes_a_second) {
  {
    auto const lock = std::lock_guard{mutex_};
    info_.rate = bytes_a_second;
    rate_ = Rate{bytes_a_second, 0};
  }
  changed_.notify_all();
}

void JobControl::wake() {
  {
    auto const lock = std::lock_guard{mutex_};
    woken_ = true;
  }
  changed_.notify_all();
}

JobInfo JobControl::wait_until_ended_or(std::function<bool(JobInfo const&)> const& enough, u64 milliseconds) {
  auto lock = std::unique_lock{mutex_};
  changed_.wait_for(lock, std::chrono::milliseconds{milliseconds},
                    [&] { return info_.ended() || enough(info_); });
  return info_;
}

}  // namespace vireo::image
