#pragma once

#include <gtest/gtest.h>
#include <sys/stat.h>

#include <atomic>
#include <string>
#include <vector>

#include "vocab/bytes.h"
#include "vocab/integers.h"

// What this program does to one file; the calls are caught in power_loss_test.cpp.
namespace vireo::image::testing {

/// A change of the file, or a sync.
struct Event {
  enum class Kind : u8 { write, zero, size, sync };
  Kind kind{};
  u64 at{};
  u64 length{};
  std::vector<std::byte> bytes{};
};

/// Keeps what this program does to one file, as long as it lives.
class Recorder {
 public:
  explicit Recorder(std::string const& path) {
    struct stat status{};
    EXPECT_EQ(::stat(path.c_str(), &status), 0);
    inode_ = status.st_ino;
    active = this;
  }
  Recorder(Recorder const&) = delete;
  ~Recorder() { active = nullptr; }

  static void add(int fd, Event event) {
    struct stat status{};
    if (active == nullptr || ::fstat(fd, &status) != 0 || status.st_ino != active->inode_) return;
    active->events.push_back(std::move(event));
  }
  std::vector<Event> events{};
  static inline bool waits_for_disk{true};
  static inline i64 writes_to_full_disk{-1000};  // at 3, 2 and 1 left a write fails
  /// Writes to this file fail as on a full disk.
  static inline std::atomic<ino_t> full_file{};
  static bool is_full(int fd) {
    struct stat status{};
    return full_file != 0 && ::fstat(fd, &status) == 0 && status.st_ino == full_file;
  }
  /// While it is set, the next sync lasts until it is cleared.
  static inline std::atomic<bool> next_sync_lasts{};
  static inline std::atomic<bool> sync_is_lasting{};

 private:
  static inline Recorder* active{};
  ino_t inode_{};
};

}  // namespace vireo::image::testing
