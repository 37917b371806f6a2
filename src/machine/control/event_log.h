#pragma once

#include <condition_variable>
#include <deque>
#include <mutex>
#include <string>
#include <vector>

#include "vocab/integers.h"

namespace vireo::machine {

/// Something that happened to a machine.
struct Event {
  u64 sequence{};       // from 1 on, without gaps
  u64 time_ns{};        // since 1970
  std::string event;    // "paused", "resumed", "ended", ...: docs/control.md lists them
  std::string subject;  // what it happened to, as "disk0"; empty: the machine
  std::string text;     // for people

  static void fields(auto&& s, auto&& f) {
    f("sequence", s.sequence);
    f("time_ns", s.time_ns);
    f("event", s.event);
    f("subject", s.subject);
    f("text", s.text);
  }
};

/// The last events of a machine, in order. Any thread.
class EventLog {
 public:
  static constexpr std::size_t kept{1024};

  void add(std::string event, std::string subject, std::string text);
  /// What came after number `after`, waiting so long for the first; older ones than are kept are missing.
  std::vector<Event> wait(u64 after, u64 timeout_ns);
  u64 last() const;
  /// Nobody waits any longer.
  void close();

 private:
  mutable std::mutex mutex_;
  std::condition_variable added_;
  std::deque<Event> events_;
  u64 last_{};
  bool closed_{};
};

}  // namespace vireo::machine
