#pragma once

#include <chrono>
#include <functional>
#include <memory>
#include <mutex>
#include <string>
#include <thread>

#include "host/clock.h"
#include "observe/log.h"
#include "vocab/integers.h"
#include "vocab/result.h"

namespace vireo::image::polled {

/// The one connection that a backend has, made again when it is lost: requests wait meanwhile, and are made
/// once more. Any thread.
template <typename Connection>
class Reconnecting {
 public:
  /// Errc::corrupt: what is there is another disk.
  using Connect = std::function<Result<std::shared_ptr<Connection>>()>;
  Reconnecting(std::string server, u64 reconnect_seconds, Connect connect)
      : server_{std::move(server)},
        patience_ns_{reconnect_seconds * 1'000'000'000},
        connect_{std::move(connect)} {}

  Result<> start() {
    auto const lock = std::lock_guard{mutex_};
    connection_ = TRY(connect_());
    return {};
  }

  /// `act` may be called again: after a loss, and once after an error that a lost state at the server may be.
  template <typename F>
  Result<> perform(F const& act) {
    for (auto losses = 0u, errors = 0u;;) {
      auto const connection = TRY(take());
      auto const outcome = act(*connection);
      if (outcome) return {};
      auto const code = outcome.error().code();
      auto const again = code == Errc::gone ? losses++ < most_losses : code == Errc::io && errors++ == 0;
      if (!again) return outcome;
      observe::log(observe::Level::warning, "image", "{}: {}", server_, outcome.error().what());
      drop(connection);
    }
  }

 private:
  static constexpr auto most_losses = 8u;  // of one request
  static constexpr auto between_tries = std::chrono::milliseconds{250};

  /// Others wait at the lock while one looks for the server.
  Result<std::shared_ptr<Connection>> take() {
    auto const lock = std::lock_guard{mutex_};
    if (connection_ != nullptr) return connection_;
    auto const deadline = host::monotonic_ns() + patience_ns_;
    for (;;) {
      auto made = connect_();
      if (made) {
        observe::log(observe::Level::info, "image", "{}: is back", server_);
        connection_ = *std::move(made);
        return connection_;
      }
      // A server that comes up may not know its disks and clients yet.
      if (made.error().code() == Errc::corrupt || host::monotonic_ns() >= deadline) return made;
      std::this_thread::sleep_for(between_tries);
    }
  }

  void drop(std::shared_ptr<Connection> const& lost) {
    auto const lock = std::lock_guard{mutex_};
    if (connection_ == lost) connection_.reset();
  }

  std::string server_;
  u64 patience_ns_;
  Connect connect_;
  std::mutex mutex_;
  std::shared_ptr<Connection> connection_;
};

}  // namespace vireo::image::polled
