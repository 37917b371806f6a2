#pragma once

#include <string>
#include <vector>

#include "vocab/integers.h"

/// What the verbs for jobs on disks take and give.
namespace vireo::machine::control {

struct Job {
  std::string job, kind, disk, target, state, error, note;
  u64 done{}, total{}, rate{};  // bytes
  static void fields(auto&& s, auto&& f) {
    f("job", s.job);
    f("kind", s.kind);
    f("disk", s.disk);
    f("target", s.target);
    f("state", s.state);
    f("done", s.done);
    f("total", s.total);
    f("rate", s.rate);
    f("error", s.error);
    f("note", s.note);
  }
};
struct Jobs {
  std::vector<Job> jobs;
  static void fields(auto&& s, auto&& f) { f("jobs", s.jobs); }
};

struct SnapshotOfDisk {
  std::string disk, path, format;
  static void fields(auto&& s, auto&& f) {
    f("disk", s.disk);
    f("path", s.path);
    f("format", s.format);
  }
};
struct DiskSnapshot {
  std::vector<SnapshotOfDisk> disks;  // all at one instant
  static void fields(auto&& s, auto&& f) { f("disks", s.disks); }
};

struct DiskStream {
  std::string disk, base;
  u64 rate{};
  static void fields(auto&& s, auto&& f) {
    f("disk", s.disk);
    f("base", s.base);
    f("rate", s.rate);
  }
};
struct DiskCommit {
  std::string disk, top, base;
  bool resume{};
  u64 rate{};
  static void fields(auto&& s, auto&& f) {
    f("disk", s.disk);
    f("top", s.top);
    f("base", s.base);
    f("resume", s.resume);
    f("rate", s.rate);
  }
};
struct DiskMirror {
  std::string disk, target, format;
  std::vector<std::string> options;  // KEY=VALUE, of a new target
  bool exists{};                     // the target
  std::string sync{"full"};          // or "top"
  bool resume{};
  std::string on_target_error{"fail"};  // or "pause"
  u64 rate{};
  static void fields(auto&& s, auto&& f) {
    f("disk", s.disk);
    f("target", s.target);
    f("format", s.format);
    f("options", s.options);
    f("exists", s.exists);
    f("sync", s.sync);
    f("resume", s.resume);
    f("on_target_error", s.on_target_error);
    f("rate", s.rate);
  }
};
struct BackupOfDisk {
  std::string disk, target, format;
  std::vector<std::string> options;
  bool exists{};
  std::string backing, backing_format;  // of a new target: the backup before
  std::string bitmap;
  bool incremental{};
  bool resume{};
  u64 rate{};
  static void fields(auto&& s, auto&& f) {
    f("disk", s.disk);
    f("target", s.target);
    f("format", s.format);
    f("options", s.options);
    f("exists", s.exists);
    f("backing", s.backing);
    f("backing_format", s.backing_format);
    f("bitmap", s.bitmap);
    f("incremental", s.incremental);
    f("resume", s.resume);
    f("rate", s.rate);
  }
};
struct DiskBackup {
  std::vector<BackupOfDisk> disks;  // all at one instant
  static void fields(auto&& s, auto&& f) { f("disks", s.disks); }
};

struct OneJob {
  std::string job;
  static void fields(auto&& s, auto&& f) { f("job", s.job); }
};
struct JobRate {
  std::string job;
  u64 rate{};  // bytes a second; 0: none
  static void fields(auto&& s, auto&& f) {
    f("job", s.job);
    f("rate", s.rate);
  }
};
struct JobWait {
  std::string job;
  bool until_ready{};  // or paused; else until it has ended
  u32 wait_seconds{};  // at most an hour
  static void fields(auto&& s, auto&& f) {
    f("job", s.job);
    f("until_ready", s.until_ready);
    f("wait_seconds", s.wait_seconds);
  }
};

}  // namespace vireo::machine::control
