#pragma once

#include <list>

#include "image/nbd/transmission.h"

namespace vireo::image::nbd {

struct ServerSettings {
  u32 max_connections{16};           // more clients wait for one to leave
  bool persistent{};                 // else the server ends with its last client
  u64 handshake_ns{30'000'000'000};  // a client that takes longer is left
  TransmissionLimits limits{};
  TlsContext const* tls{};  // given: only encrypted clients
};

/// Serves disks to NBD clients.
class Server {
 public:
  static Result<std::unique_ptr<Server>> create(std::vector<host::Descriptor> listeners,
                                                std::vector<Export> exports, ServerSettings settings);
  ~Server();

  /// Returns after stop() or, unless persistent, when the last client that used a disk has left.
  Result<> run();
  /// From any thread, and from a signal's handler. Requests under way are finished.
  void stop();

 private:
  struct Client {
    std::mutex mutex{};
    host::Descriptor socket{};
    std::atomic<bool> gone{};
    std::atomic<bool> used{};
    std::jthread thread{};
  };
  Server(std::vector<host::Descriptor> listeners, std::vector<Export> exports, ServerSettings settings);
  void accept_from(int listener);
  void serve(Client& client, host::Descriptor socket);
  void sweep();
  void wake() const;

  std::vector<host::Descriptor> listeners_;
  std::vector<Export> exports_;
  ServerSettings settings_;
  host::Descriptor wake_;
  std::atomic<bool> stopping_{false};
  std::list<Client> clients_;  // of the thread that runs
  bool was_used_{};
};

}  // namespace vireo::image::nbd
