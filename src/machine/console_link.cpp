#include "machine/console_link.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <poll.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <chrono>

namespace vireo::machine {
namespace {

constexpr std::size_t chunk{4096};  // at most PIPE_BUF: a ready pipe takes it without blocking

Result<host::Descriptor> listen_at(std::string const& path) {
  auto address = sockaddr_un{.sun_family = AF_UNIX, .sun_path = {}};
  if (path.empty() || path.size() >= sizeof address.sun_path) {
    return fail(Errc::invalid, fmt::format("console: '{}' is no path for a Unix socket (1 to {} bytes)", path,
                                           sizeof address.sun_path - 1));
  }
  path.copy(address.sun_path, path.size());
  auto socket = host::Descriptor{::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0)};
  auto status = (struct stat){};
  if (::stat(path.c_str(), &status) == 0 && S_ISSOCK(status.st_mode)) ::unlink(path.c_str());
  // SOUND: sockets take every address family through sockaddr.
  auto const* const any = reinterpret_cast<sockaddr const*>(&address);
  if (!socket || ::bind(socket.get(), any, sizeof address) != 0 || ::listen(socket.get(), 1) != 0) {
    return fail(Errc::io, fmt::format("console: {}: {}", path, std::strerror(errno)));
  }
  return socket;
}

}  // namespace

Result<std::unique_ptr<ConsoleLink>> ConsoleLink::create(std::string const& where, bus::Executor& executor,
                                                         std::function<void(ConsoleRequest)> on_request) {
  auto ends = Ends{};
  if (where == "stdio") {
    ends.input = host::Descriptor{::fcntl(STDIN_FILENO, F_DUPFD_CLOEXEC, 0)};
    ends.output = host::Descriptor{::fcntl(STDOUT_FILENO, F_DUPFD_CLOEXEC, 0)};
    ends.escapes = true;
  } else if (where.starts_with("unix:")) {
    ends.listener = TRY(listen_at(where.substr(5)));
  } else if (where != "none") {
    ends.output = host::Descriptor{::open(where.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644)};
    if (!ends.output) return fail(Errc::io, fmt::format("console: {}: {}", where, std::strerror(errno)));
  }
  auto const raw = ends.escapes && host::is_terminal(STDIN_FILENO);
  auto link = std::unique_ptr<ConsoleLink>{new ConsoleLink{std::move(ends), executor, std::move(on_request)}};
  if (raw) link->raw_.emplace(TRY_IN("console", host::RawTerminal::enter(STDIN_FILENO)));
  link->thread_ = std::thread{[link = link.get()] { link->serve(); }};
  return link;
}

ConsoleLink::ConsoleLink(Ends ends, bus::Executor& executor, std::function<void(ConsoleRequest)> on_request)
    : executor_{executor},
      on_request_{std::move(on_request)},
      ends_{std::move(ends)},
      wake_{::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK)} {}

ConsoleLink::~ConsoleLink() {
  *alive_ = false;
  if (!thread_.joinable()) return;
  {
    auto lock = std::unique_lock{mutex_};
    wake();
    if (ends_.output) drained_.wait_for(lock, std::chrono::seconds{1}, [&] { return to_host_.empty(); });
    closing_ = true;
  }
  wake();
  thread_.join();
}

void ConsoleLink::attach(device::SerialPort* port) {
  if (port_ != nullptr) port_->connect(nullptr);
  port_ = port;
  if (port_ != nullptr) port_->connect(this);
  deliver();
}

void ConsoleLink::transmit(ConstBytes bytes) {
  auto lock = std::unique_lock{mutex_};
  drained_.wait(lock, [&] { return to_host_.size() < output_limit || abandoned_; });
  if (to_host_.size() >= output_limit) return;
  for (auto const byte : bytes) to_host_ += static_cast<char>(byte);
  wake();
}

void ConsoleLink::abandon_output() {
  auto const lock = std::lock_guard{mutex_};
  abandoned_ = true;
  drained_.notify_all();
}

void ConsoleLink::deliver() {
  if (port_ == nullptr) return;
  auto const lock = std::lock_guard{mutex_};
  if (to_guest_.empty()) return;
  to_guest_.erase(0, port_->receive(std::as_bytes(std::span{to_guest_})));
  if (to_guest_.empty()) wake();
}

void ConsoleLink::wake() {
  auto const one = u64{1};
  // A full counter wakes just as well.
  [[maybe_unused]] auto const written = ::write(wake_.get(), &one, sizeof one);
}

bool ConsoleLink::wants_input() {
  auto const lock = std::lock_guard{mutex_};
  return to_guest_.empty();
}
bool ConsoleLink::has_output() {
  auto const lock = std::lock_guard{mutex_};
  if (to_host_.empty() || ends_.output) return !to_host_.empty();
  to_host_.clear();  // nobody listens
  drained_.notify_all();
  return false;
}

void ConsoleLink::serve() {
  while (true) {
    auto const fd_if = [](bool wanted, host::Descriptor const& fd) { return wanted && fd ? fd.get() : -1; };
    auto polled = std::array<pollfd, 4>{{{wake_.get(), POLLIN, 0},
                                         {fd_if(wants_input(), ends_.input), POLLIN, 0},
                                         {fd_if(has_output(), ends_.output), POLLOUT, 0},
                                         {fd_if(!ends_.input, ends_.listener), POLLIN, 0}}};
    if (::poll(polled.data(), polled.size(), -1) < 0 && errno != EINTR) return;
    auto count = u64{};
    [[maybe_unused]] auto const drained = ::read(wake_.get(), &count, sizeof count);
    {
      auto const lock = std::lock_guard{mutex_};
      if (closing_) return;
    }
    if (polled[2].revents != 0) write_output();
    if (polled[1].revents != 0) read_input();
    if (polled[3].revents != 0) accept_client();
  }
}

void ConsoleLink::read_input() {
  auto buffer = std::array<char, chunk>{};
  auto const length = ::read(ends_.input.get(), buffer.data(), buffer.size());
  if (length < 0 && (errno == EINTR || errno == EAGAIN)) return;
  if (length <= 0) return hang_up();
  auto typed = std::string{buffer.data(), static_cast<std::size_t>(length)};
  auto request = std::optional<ConsoleRequest>{};
  if (ends_.escapes) {
    auto taken = escape_.take(typed);
    typed = std::move(taken.for_guest);
    request = taken.request;
  }
  if (!typed.empty()) {
    {
      auto const lock = std::lock_guard{mutex_};
      to_guest_ += typed;
    }
    executor_.post([this, alive = alive_] {
      if (*alive) deliver();
    });
  }
  if (request == ConsoleRequest::help) {
    auto const lock = std::lock_guard{mutex_};
    to_host_ += console_help;
  } else if (request) {
    if (request == ConsoleRequest::quit) abandon_output();
    on_request_(*request);
  }
}

void ConsoleLink::write_output() {
  auto text = std::string{};
  {
    auto const lock = std::lock_guard{mutex_};
    text = to_host_.substr(0, chunk);
  }
  auto const written = ::write(ends_.output.get(), text.data(), text.size());
  if (written < 0 && (errno == EINTR || errno == EAGAIN)) return;
  if (written < 0) ends_.output = host::Descriptor{};
  auto const lock = std::lock_guard{mutex_};
  to_host_.erase(0, written < 0 ? to_host_.size() : static_cast<std::size_t>(written));
  drained_.notify_all();
}

void ConsoleLink::accept_client() {
  auto client =
      host::Descriptor{::accept4(ends_.listener.get(), nullptr, nullptr, SOCK_CLOEXEC | SOCK_NONBLOCK)};
  if (!client) return;
  ends_.output = host::Descriptor{::fcntl(client.get(), F_DUPFD_CLOEXEC, 0)};
  ends_.input = std::move(client);
}

void ConsoleLink::hang_up() {
  ends_.input = host::Descriptor{};
  if (ends_.listener) ends_.output = host::Descriptor{};
}

}  // namespace vireo::machine
