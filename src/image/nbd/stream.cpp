#include "image/nbd/stream.h"

#include <poll.h>
#include <sys/socket.h>
#include <sys/uio.h>

#include <algorithm>
#include <array>
#include <cerrno>

#include "host/socket.h"
#include "host/system_error.h"

namespace vireo::image::nbd {
namespace {

Result<> wait(int fd, short events, u64 deadline_ns) {
  if (TRY(host::wait_for(fd, events, deadline_ns))) return {};
  return fail(Errc::gone, "nbd: the peer does not go on");
}

iovec part(ConstBytes bytes) {
  // SOUND: sendmsg does not write through it.
  return {const_cast<std::byte*>(bytes.data()), bytes.size()};
}

}  // namespace

Result<std::size_t> SocketStream::read_some(Bytes into, u64 deadline_ns) {
  while (true) {
    auto const count = ::recv(socket_.get(), into.data(), into.size(), MSG_DONTWAIT);
    if (count >= 0) return static_cast<std::size_t>(count);
    if (errno == EINTR) continue;
    if (errno != EAGAIN) return host::fail_errno(errno, "nbd: receiving");
    TRY(wait(socket_.get(), POLLIN, deadline_ns));
  }
}

Result<std::size_t> SocketStream::write_some(ConstBytes first, ConstBytes second, u64 deadline_ns) {
  auto parts = std::array{part(first), part(second)};
  auto message = msghdr{};
  message.msg_iov = parts.data();
  message.msg_iovlen = parts.size();
  while (true) {
    auto const count = ::sendmsg(socket_.get(), &message, MSG_DONTWAIT | MSG_NOSIGNAL);
    if (count >= 0) return static_cast<std::size_t>(count);
    if (errno == EINTR) continue;
    if (errno != EAGAIN) return host::fail_errno(errno, "nbd: sending");
    TRY(wait(socket_.get(), POLLOUT, deadline_ns));
  }
}

void SocketStream::hang_up() { ::shutdown(socket_.get(), SHUT_RDWR); }

Result<> read_all(Stream& stream, Bytes into, u64 deadline_ns) {
  while (!into.empty()) {
    auto const count = TRY(stream.read_some(into, deadline_ns));
    if (count == 0) return fail(Errc::gone, "nbd: the peer has ended the connection");
    into = into.subspan(count);
  }
  return {};
}

Result<> write_all(Stream& stream, ConstBytes first, ConstBytes second, u64 deadline_ns) {
  while (!first.empty() || !second.empty()) {
    auto const count = TRY(stream.write_some(first, second, deadline_ns));
    auto const of_first = std::min(count, first.size());
    first = first.subspan(of_first);
    second = second.subspan(count - of_first);
  }
  return {};
}

}  // namespace vireo::image::nbd
