#include "machine/control/control_server.h"

#include <poll.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <unistd.h>

#include <array>
#include <cerrno>

#include "host/system_error.h"
#include "machine/control/line_channel.h"

namespace vireo::machine {

Result<std::unique_ptr<ControlServer>> ControlServer::start(ControlSocket socket, VerbTable const& verbs) {
  auto stop = host::Descriptor{::eventfd(0, EFD_CLOEXEC)};
  if (!stop) return host::fail_errno(errno, "eventfd");
  auto server = std::unique_ptr<ControlServer>{new ControlServer{std::move(socket), verbs, std::move(stop)}};
  server->thread_ = std::thread{[server = server.get()] { server->accept_clients(); }};
  return server;
}

ControlServer::~ControlServer() {
  auto const one = u64{1};
  [[maybe_unused]] auto const written = ::write(stop_.get(), &one, sizeof one);
  thread_.join();
}

void ControlServer::accept_clients() {
  while (true) {
    auto polled = std::array<pollfd, 2>{{{socket_.fd(), POLLIN, 0}, {stop_.get(), POLLIN, 0}}};
    if (::poll(polled.data(), polled.size(), -1) < 0 && errno != EINTR) break;
    if (polled[1].revents != 0) break;
    auto client = host::Descriptor{::accept4(socket_.fd(), nullptr, nullptr, SOCK_CLOEXEC | SOCK_NONBLOCK)};
    forget_clients_gone();
    if (!client || clients_.size() >= control::client_limit) continue;
    auto done = std::make_shared<std::atomic<bool>>(false);
    clients_.push_back({std::thread{[this, done, socket = std::move(client)]() mutable {
                          serve(std::move(socket));
                          *done = true;
                        }},
                        done});
  }
  for (auto& client : clients_) client.thread.join();
}

void ControlServer::forget_clients_gone() {
  std::erase_if(clients_, [](Client& client) {
    if (!*client.done) return false;
    client.thread.join();
    return true;
  });
}

void ControlServer::serve(host::Descriptor socket) const {
  auto channel = LineChannel{std::move(socket)};
  auto const greeting =
      control::Greeting{.vireo = VIREO_VERSION, .machine = socket_.name(), .pid = static_cast<u32>(::getpid())};
  if (!channel.write(boost::json::serialize(to_json(greeting)))) return;
  while (true) {
    auto line = channel.read(control::line_limit, stop_.get());
    if (!line) {
      // Too long a line has an answer, though not its own; the other ends have nobody to tell.
      if (line.error().code() == Errc::invalid) {
        static_cast<void>(channel.write(VerbTable{}.answer(line.error().what())));
      }
      return;
    }
    if (!*line) return;
    if (!channel.write(verbs_.answer(**line))) return;
  }
}

}  // namespace vireo::machine
