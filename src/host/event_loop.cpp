#include "host/event_loop.h"

#include <fmt/format.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/timerfd.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <utility>

#include "host/clock.h"
#include "host/system_error.h"

namespace vireo::host {
namespace {

void drain(int fd) {
  auto count = u64{0};
  [[maybe_unused]] auto const ignored = ::read(fd, &count, sizeof count);
}

Result<> watch(int epoll, int operation, int fd, u32 events) {
  auto event = epoll_event{};
  event.events = events;
  event.data.fd = fd;
  if (::epoll_ctl(epoll, operation, fd, &event) != 0) return fail_errno(errno, fmt::format("epoll: fd {}", fd));
  return {};
}

}  // namespace

Result<std::unique_ptr<EventLoop>> EventLoop::create() {
  auto loop = std::unique_ptr<EventLoop>{new EventLoop};
  loop->epoll_ = Descriptor{::epoll_create1(EPOLL_CLOEXEC)};
  loop->wake_ = Descriptor{::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK)};
  loop->timer_ = Descriptor{::timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC | TFD_NONBLOCK)};
  if (!loop->epoll_ || !loop->wake_ || !loop->timer_) return fail_errno(errno, "event loop");
  TRY(watch(loop->epoll_.get(), EPOLL_CTL_ADD, loop->wake_.get(), EPOLLIN));
  TRY(watch(loop->epoll_.get(), EPOLL_CTL_ADD, loop->timer_.get(), EPOLLIN));
  return loop;
}

EventLoop::~EventLoop() = default;

Result<> EventLoop::add(int fd, u32 events, Ready ready) {
  return shared_.with([&](Shared& shared) -> Result<> {
    if (shared.watches.contains(fd))
      return fail(Errc::busy, fmt::format("event loop: fd {} is added already", fd));
    TRY(watch(epoll_.get(), EPOLL_CTL_ADD, fd, events));
    shared.watches[fd] = std::make_shared<Watch>(Watch{std::move(ready)});
    return {};
  });
}

Result<> EventLoop::modify(int fd, u32 events) { return watch(epoll_.get(), EPOLL_CTL_MOD, fd, events); }

void EventLoop::remove(int fd) {
  shared_.with([&](Shared& shared) {
    auto const found = shared.watches.find(fd);
    if (found == shared.watches.end()) return;
    found->second->removed = true;
    shared.watches.erase(found);
    ::epoll_ctl(epoll_.get(), EPOLL_CTL_DEL, fd, nullptr);
  });
}

void EventLoop::post(Work work) {
  shared_.with([&](Shared& shared) { shared.posted.push_back(std::move(work)); });
  wake();
}

EventLoop::Timer EventLoop::at(u64 deadline_ns, Work work) {
  return shared_.with([&](Shared& shared) {
    auto const number = shared.next_timer++;
    shared.timers.emplace(Deadline{deadline_ns, number}, std::move(work));
    shared.deadlines.emplace(number, deadline_ns);
    arm(shared);
    return Timer{number};
  });
}

bool EventLoop::cancel(Timer timer) {
  return shared_.with([&](Shared& shared) {
    auto const found = shared.deadlines.find(std::to_underlying(timer));
    if (found == shared.deadlines.end()) return false;
    shared.timers.erase(Deadline{found->second, found->first});
    shared.deadlines.erase(found);
    arm(shared);
    return true;
  });
}

void EventLoop::run() {
  thread_ = ::gettid();
  auto ready = std::array<epoll_event, 64>{};
  for (auto stopping = false; !stopping;) {
    auto const count = ::epoll_wait(epoll_.get(), ready.data(), static_cast<int>(ready.size()), -1);
    for (auto index = 0; index < count; ++index) {
      auto const& event = ready[static_cast<std::size_t>(index)];
      if (event.data.fd == wake_.get()) {
        drain(wake_.get());
      } else if (event.data.fd == timer_.get()) {
        drain(timer_.get());
        run_timers();
      } else {
        dispatch(event.data.fd, event.events);
      }
    }
    run_posted();
    stopping = shared_.with([](Shared& shared) { return std::exchange(shared.stopping, false); });
  }
  run_posted();
  thread_ = 0;
}

void EventLoop::stop() {
  shared_.with([](Shared& shared) { shared.stopping = true; });
  wake();
}

bool EventLoop::in_loop_thread() const { return thread_ == ::gettid(); }

void EventLoop::wake() {
  auto const one = u64{1};
  [[maybe_unused]] auto const ignored = ::write(wake_.get(), &one, sizeof one);
}

void EventLoop::arm(Shared& shared) {
  auto const wanted = shared.timers.empty() ? std::optional<u64>{} : shared.timers.begin()->first.first;
  if (shared.armed == wanted) return;
  shared.armed = wanted;
  auto when = itimerspec{};  // zero would disarm: a deadline of 0 is one nanosecond late
  auto const deadline = wanted ? std::max<u64>(*wanted, 1) : 0;
  when.it_value.tv_sec = static_cast<time_t>(deadline / 1'000'000'000);
  when.it_value.tv_nsec = static_cast<long>(deadline % 1'000'000'000);
  ::timerfd_settime(timer_.get(), TFD_TIMER_ABSTIME, &when, nullptr);
}

void EventLoop::run_posted() {
  auto const work = shared_.with([](Shared& shared) { return std::exchange(shared.posted, {}); });
  for (auto const& item : work) item();
}

void EventLoop::run_timers() {
  // What a callback adds for the past runs in the next round, so that descriptors get their turn.
  auto const last = shared_.with([](Shared& shared) { return shared.next_timer; });
  auto const now = monotonic_ns();
  auto more = true;
  while (more) {
    auto const work = shared_.with([&](Shared& shared) -> Work {
      auto const first = shared.timers.begin();
      if (first == shared.timers.end() || first->first.first > now || first->first.second >= last)
        return nullptr;
      auto due = std::move(first->second);
      shared.deadlines.erase(first->first.second);
      shared.timers.erase(first);
      return due;
    });
    more = static_cast<bool>(work);
    if (more) work();
  }
  shared_.with([&](Shared& shared) {
    shared.armed.reset();
    arm(shared);
  });
}

void EventLoop::dispatch(int fd, u32 events) {
  auto const found = shared_.with([&](Shared& shared) {
    auto const at = shared.watches.find(fd);
    return at == shared.watches.end() ? nullptr : at->second;
  });
  if (found) found->ready(events);
}

}  // namespace vireo::host
