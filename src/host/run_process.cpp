#include <poll.h>
#include <unistd.h>

#include <array>
#include <cerrno>

#include "host/process.h"

namespace vireo::host {
namespace {

/// False at the end of the stream.
bool take(int fd, std::string& into) {
  auto buffer = std::array<char, 16384>{};
  auto const count = ::read(fd, buffer.data(), buffer.size());
  if (count > 0) into.append(buffer.data(), static_cast<std::size_t>(count));
  return count > 0 || (count < 0 && errno == EINTR);
}

}  // namespace

Result<RunResult> run_process(Process::Options const& options,
                              std::function<void(std::string_view)> const& on_error_line) {
  auto process = TRY(Process::start(options));
  auto result = RunResult{};
  auto watched = std::array{pollfd{process.output_fd(), POLLIN, 0}, pollfd{process.error_fd(), POLLIN, 0}};
  auto reported = std::size_t{0};
  while (watched[0].fd >= 0 || watched[1].fd >= 0) {
    if (::poll(watched.data(), watched.size(), -1) < 0) continue;
    if (watched[0].revents != 0 && !take(watched[0].fd, result.output)) watched[0].fd = -1;
    if (watched[1].revents != 0 && !take(watched[1].fd, result.error)) watched[1].fd = -1;
    for (auto end = result.error.find('\n', reported); on_error_line && end != std::string::npos;
         end = result.error.find('\n', reported)) {
      on_error_line(std::string_view{result.error}.substr(reported, end - reported));
      reported = end + 1;
    }
  }
  result.status = TRY(process.wait());
  return result;
}

}  // namespace vireo::host
