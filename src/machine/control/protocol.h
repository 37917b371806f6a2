#pragma once

#include <array>
#include <optional>
#include <string>
#include <vector>

#include "machine/control/event_log.h"

/// What the control socket's verbs take and give; docs/control.md says it for people.
namespace vireo::machine::control {

inline constexpr u32 protocol_version{1};
inline constexpr std::size_t line_limit{1u << 20};  // bytes of a request
inline constexpr u32 client_limit{32};

/// An error's "code", by Errc.
inline constexpr std::array error_codes{"invalid", "corrupt", "unsupported", "busy",     "no_space",
                                        "io",      "denied",  "gone",        "not_found"};

struct Nothing {
  static void fields(auto&&, auto&&) {}
};

struct Greeting {
  std::string vireo;  // the program's version
  u32 protocol{protocol_version};
  std::string machine;
  u32 pid{};
  static void fields(auto&& s, auto&& f) {
    f("vireo", s.vireo);
    f("protocol", s.protocol);
    f("machine", s.machine);
    f("pid", s.pid);
  }
};

struct DiskStatus {
  std::string name, path, format, on_error, throttle_group;
  u64 bytes{};
  bool readonly{};
  u64 iops{}, iops_burst{}, bps{}, bps_burst{};
  static void fields(auto&& s, auto&& f) {
    f("name", s.name);
    f("path", s.path);
    f("format", s.format);
    f("bytes", s.bytes);
    f("readonly", s.readonly);
    f("on_error", s.on_error);
    f("throttle_group", s.throttle_group);
    f("iops", s.iops);
    f("iops_burst", s.iops_burst);
    f("bps", s.bps);
    f("bps_burst", s.bps_burst);
  }
};

struct Status {
  std::string name, state, reason;  // state: starting, running, paused, ended
  u32 pid{};
  u64 uptime_ms{};  // of the process
  std::string engine;
  u32 cpus{};
  u64 memory{};  // bytes
  std::string image;
  u64 last_event{};
  std::vector<DiskStatus> disks;
  static void fields(auto&& s, auto&& f) {
    f("name", s.name);
    f("state", s.state);
    f("reason", s.reason);
    f("pid", s.pid);
    f("uptime_ms", s.uptime_ms);
    f("engine", s.engine);
    f("cpus", s.cpus);
    f("memory", s.memory);
    f("image", s.image);
    f("last_event", s.last_event);
    f("disks", s.disks);
  }
};

struct Pause {
  std::string reason{"paused by its user"};
  static void fields(auto&& s, auto&& f) { f("reason", s.reason); }
};

struct AwaitEvents {
  u64 after{};         // events behind this number
  u32 wait_seconds{};  // for the first, at most an hour
  static void fields(auto&& s, auto&& f) {
    f("after", s.after);
    f("wait_seconds", s.wait_seconds);
  }
};
struct Events {
  std::vector<Event> events;
  static void fields(auto&& s, auto&& f) { f("events", s.events); }
};

/// Limits of a disk, and of all of its group; what is left out stays.
struct DiskThrottle {
  std::string disk;
  std::optional<u64> iops, iops_burst, bps, bps_burst;
  static void fields(auto&& s, auto&& f) {
    f("disk", s.disk);
    f("iops", s.iops);
    f("iops_burst", s.iops_burst);
    f("bps", s.bps);
    f("bps_burst", s.bps_burst);
  }
};

struct DiskOnError {
  std::string disk;
  std::string on_error;  // pause, report, stop
  static void fields(auto&& s, auto&& f) {
    f("disk", s.disk);
    f("on_error", s.on_error);
  }
};

struct ScreenText {
  u32 columns{}, rows{};
  std::string text;  // a line for each row
  static void fields(auto&& s, auto&& f) {
    f("columns", s.columns);
    f("rows", s.rows);
    f("text", s.text);
  }
};

struct Screenshot {
  u32 width{}, height{};  // pixels
  std::string png;        // base64
  static void fields(auto&& s, auto&& f) {
    f("width", s.width);
    f("height", s.height);
    f("png", s.png);
  }
};

/// Keys that are pressed together, one after the other, and then let go: {"ctrl","alt","delete"}.
struct Keys {
  std::vector<std::string> keys;
  static void fields(auto&& s, auto&& f) { f("keys", s.keys); }
};
struct Typing {
  std::string text;
  static void fields(auto&& s, auto&& f) { f("text", s.text); }
};

struct VerbHelp {
  std::string verb, help;
  std::vector<std::string> arguments;
  static void fields(auto&& s, auto&& f) {
    f("verb", s.verb);
    f("help", s.help);
    f("arguments", s.arguments);
  }
};
struct Help {
  std::vector<VerbHelp> verbs;
  static void fields(auto&& s, auto&& f) { f("verbs", s.verbs); }
};

}  // namespace vireo::machine::control
