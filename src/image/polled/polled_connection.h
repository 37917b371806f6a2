#pragma once

#include <condition_variable>
#include <functional>
#include <mutex>
#include <string>
#include <vector>

#include "host/descriptor.h"
#include "vocab/integers.h"
#include "vocab/result.h"

namespace vireo::image::polled {

/// What a thread has asked the library for and waits for. The library's callbacks call done(), each once.
class Batch {
 public:
  void add() { ++left_; }
  void done() { --left_; }

 private:
  friend class PolledConnection;
  u64 left_{};
  bool lost_{};
};

/// A library's connection that is driven with poll(2) and must not be touched by two threads at once, for any
/// number of threads: each starts its requests, and of those that wait one drives the connection for all.
class PolledConnection {
 public:
  PolledConnection(PolledConnection const&) = delete;
  virtual ~PolledConnection() = default;

  /// Calls `start`, which asks the library for something and adds it to the batch, and returns when all of the
  /// batch is done. An error of start's ends it as soon as the rest is done. Errc::gone: the connection is
  /// lost, or nothing came for `patience_ns`; what was asked for may have been done.
  Result<> carry_out(Batch& batch, std::function<Result<>()> const& start);
  bool is_lost();

 protected:
  explicit PolledConnection(u64 patience_ns);
  /// The library's, all under the lock. No callback comes after cut().
  virtual int descriptor() = 0;
  virtual short wanted_events() = 0;
  /// False: the connection is of no use any longer.
  virtual bool service(short events) = 0;
  virtual std::string reason() = 0;
  virtual void cut() = 0;

 private:
  using Lock = std::unique_lock<std::mutex>;
  void send_now();
  void drive(Lock& lock);
  void lose(std::string why);

  u64 patience_ns_;
  std::mutex mutex_;
  std::condition_variable changed_;
  host::Descriptor wake_;
  u64 heard_ns_{};
  std::vector<Batch*> waited_for_;
  bool driven_{};
  bool lost_{};
  std::string why_;
};

}  // namespace vireo::image::polled
