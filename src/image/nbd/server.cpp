#include "image/nbd/server.h"

#include <fcntl.h>
#include <poll.h>
#include <sys/eventfd.h>
#include <sys/socket.h>

#include <cerrno>

#include "host/clock.h"
#include "host/socket.h"
#include "host/system_error.h"
#include "observe/log.h"

namespace vireo::image::nbd {

Server::Server(std::vector<host::Descriptor> listeners, std::vector<Export> exports, ServerSettings settings)
    : listeners_{std::move(listeners)}, exports_{std::move(exports)}, settings_{settings} {}

Result<std::unique_ptr<Server>> Server::create(std::vector<host::Descriptor> listeners,
                                               std::vector<Export> exports, ServerSettings settings) {
  for (auto const& each : exports) {
    if (each.name.size() > longest_string || each.description.size() > longest_string) {
      return fail(Errc::invalid, "nbd: names have at most 4096 bytes");
    }
    if (each.offset > each.image->geometry().bytes)
      return fail(Errc::invalid, "nbd: the offset lies behind the disk");
  }
  auto server = std::unique_ptr<Server>{new Server{std::move(listeners), std::move(exports), settings}};
  server->wake_.reset(::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK));
  if (!server->wake_) return host::fail_errno(errno, "eventfd");
  return server;
}

Server::~Server() = default;

void Server::stop() {
  stopping_ = true;
  wake();
}

void Server::wake() const {
  auto const one = u64{1};
  static_cast<void>(!::write(wake_.get(), &one, sizeof one));
}

Result<> Server::run() {
  while (!stopping_) {
    auto watched = std::vector<pollfd>{{.fd = wake_.get(), .events = POLLIN, .revents = 0}};
    if (clients_.size() < settings_.max_connections) {
      for (auto const& each : listeners_) watched.push_back({.fd = each.get(), .events = POLLIN, .revents = 0});
    }
    if (::poll(watched.data(), watched.size(), -1) < 0 && errno != EINTR)
      return host::fail_errno(errno, "poll");
    auto drained = u64{};
    static_cast<void>(!::read(wake_.get(), &drained, sizeof drained));
    sweep();
    for (auto const& each : watched) {
      if (each.fd != wake_.get() && each.revents != 0) accept_from(each.fd);
    }
    if (!settings_.persistent && was_used_ && clients_.empty()) break;
  }
  for (auto& client : clients_) {
    auto const lock = std::lock_guard{client.mutex};
    // Half of it: what is under way is still answered.
    if (client.socket) ::shutdown(client.socket.get(), SHUT_RD);
  }
  clients_.clear();
  return {};
}

void Server::accept_from(int listener) {
  if (clients_.size() >= settings_.max_connections) return;
  auto socket = host::Descriptor{::accept4(listener, nullptr, nullptr, SOCK_CLOEXEC | SOCK_NONBLOCK)};
  if (!socket) return;  // it has left again
  host::tune_tcp(socket.get());
  auto& client = clients_.emplace_back();
  client.socket.reset(::fcntl(socket.get(), F_DUPFD_CLOEXEC, 0));
  client.thread =
      std::jthread{[this, &client, taken = std::move(socket)]() mutable { serve(client, std::move(taken)); }};
}

void Server::serve(Client& client, host::Descriptor socket) {
  auto stream = std::unique_ptr<Stream>{std::make_unique<SocketStream>(std::move(socket))};
  auto const offer = Offer{.exports = exports_, .tls = settings_.tls};
  auto session = greet_client(stream, offer, host::monotonic_ns() + settings_.handshake_ns);
  if (!session) observe::log(observe::Level::info, "nbd", "handshake: {}", session.error().what());
  if (session && *session) {
    client.used = true;
    Transmission{*stream, **std::move(session), settings_.limits}.serve();
  }
  stream.reset();
  {
    auto const lock = std::lock_guard{client.mutex};
    client.socket.reset();
  }
  client.gone = true;
  wake();
}

void Server::sweep() {
  for (auto client = clients_.begin(); client != clients_.end();) {
    if (!client->gone) {
      ++client;
      continue;
    }
    was_used_ = was_used_ || client->used;
    client = clients_.erase(client);
  }
}

}  // namespace vireo::image::nbd
