#pragma once

#include <atomic>
#include <memory>
#include <thread>
#include <vector>

#include "machine/control/control_socket.h"
#include "machine/control/verb_table.h"

namespace vireo::machine {

/// Serves a machine's control socket: JSON lines, a thread for each client, so that a slow one or a long verb
/// holds up nobody else.
class ControlServer {
 public:
  /// `verbs` outlives the server. Errc::io when the host refuses what is needed.
  static Result<std::unique_ptr<ControlServer>> start(ControlSocket socket, VerbTable const& verbs);
  /// Waits for verbs under way: what they wait for must have ended.
  ~ControlServer();

  std::string const& name() const { return socket_.name(); }

 private:
  struct Client {
    std::thread thread;
    std::shared_ptr<std::atomic<bool>> done;
  };

  ControlServer(ControlSocket socket, VerbTable const& verbs, host::Descriptor stop)
      : socket_{std::move(socket)}, verbs_{verbs}, stop_{std::move(stop)} {}
  void accept_clients();
  void serve(host::Descriptor socket) const;
  void forget_clients_gone();

  ControlSocket socket_;
  VerbTable const& verbs_;
  host::Descriptor stop_;
  std::vector<Client> clients_;  // the accepting thread's
  std::thread thread_;
};

}  // namespace vireo::machine
