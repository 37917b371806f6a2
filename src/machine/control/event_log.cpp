#include "machine/control/event_log.h"

#include <algorithm>
#include <chrono>

#include "host/clock.h"

namespace vireo::machine {

void EventLog::add(std::string event, std::string subject, std::string text) {
  auto const lock = std::lock_guard{mutex_};
  events_.push_back({.sequence = ++last_,
                     .time_ns = host::wall_clock_ns(),
                     .event = std::move(event),
                     .subject = std::move(subject),
                     .text = std::move(text)});
  if (events_.size() > kept) events_.pop_front();
  added_.notify_all();
}

std::vector<Event> EventLog::wait(u64 after, u64 timeout_ns) {
  auto lock = std::unique_lock{mutex_};
  added_.wait_for(lock, std::chrono::nanoseconds{timeout_ns}, [&] { return last_ > after || closed_; });
  auto const first = std::ranges::find_if(events_, [&](Event const& each) { return each.sequence > after; });
  return {first, events_.end()};
}

u64 EventLog::last() const {
  auto const lock = std::lock_guard{mutex_};
  return last_;
}

void EventLog::close() {
  auto const lock = std::lock_guard{mutex_};
  closed_ = true;
  added_.notify_all();
}

}  // namespace vireo::machine
