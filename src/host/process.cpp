#include "host/process.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <csignal>
#include <cstdlib>

#include "host/system_error.h"

namespace vireo::host {
namespace {

struct Pipe {
  Descriptor read;
  Descriptor write;
};

Result<Pipe> make_pipe() {
  auto ends = std::array<int, 2>{};
  if (::pipe2(ends.data(), O_CLOEXEC) != 0) return fail_errno(errno, "pipe");
  return Pipe{Descriptor{ends[0]}, Descriptor{ends[1]}};
}

std::vector<char*> pointers(std::vector<std::string> const& words) {
  auto result = std::vector<char*>{};
  for (auto const& word : words) result.push_back(const_cast<char*>(word.c_str()));
  result.push_back(nullptr);
  return result;
}

std::vector<std::string> merged_environment(std::vector<std::string> const& additions) {
  auto result = additions;
  for (auto** variable = environ; *variable != nullptr; ++variable) {
    auto const name = std::string_view{*variable}.substr(0, std::string_view{*variable}.find('='));
    auto replaced = false;
    for (auto const& addition : additions) replaced |= addition.starts_with(fmt::format("{}=", name));
    if (!replaced) result.emplace_back(*variable);
  }
  return result;
}

}  // namespace

std::string ExitStatus::text() const {
  return signal != 0 ? fmt::format("signal {}", signal) : fmt::format("exit code {}", code);
}

std::string find_program(std::string_view name) {
  if (name.find('/') != std::string_view::npos) return std::string{name};
  auto const* const variable = std::getenv("PATH");
  auto folders = std::string{variable != nullptr ? variable : "/usr/bin:/bin"} + ":/usr/sbin:/sbin";
  for (auto rest = std::string_view{folders}; !rest.empty();) {
    auto const end = std::min(rest.find(':'), rest.size());
    auto const path = fmt::format("{}/{}", rest.substr(0, end), name);
    if (end != 0 && ::access(path.c_str(), X_OK) == 0) return path;
    rest.remove_prefix(std::min(end + 1, rest.size()));
  }
  return {};
}

Result<Process> Process::start(Options const& options) {
  if (options.arguments.empty()) return fail(Errc::invalid, "process: no arguments");
  auto const program = find_program(options.arguments.front());
  if (program.empty())
    return fail(Errc::not_found, fmt::format("{}: not installed", options.arguments.front()));
  if (options.input.size() > 65536) return fail(Errc::invalid, "process: input above 64 KiB");

  auto input = TRY(make_pipe());
  auto output = TRY(make_pipe());
  auto error = TRY(make_pipe());
  auto status = TRY(make_pipe());
  auto const null = Descriptor{::open("/dev/null", O_RDWR | O_CLOEXEC)};
  if (!options.input.empty() && ::write(input.write.get(), options.input.data(), options.input.size()) < 0) {
    return fail_errno(errno, "pipe");
  }
  auto const arguments = pointers(options.arguments);
  auto const environment_words = merged_environment(options.environment);
  auto const environment = pointers(environment_words);
  auto const source_of = [&](Stream stream, int inherited, int captured) {
    return stream == Stream::inherit ? inherited : stream == Stream::discard ? null.get() : captured;
  };

  auto const id = ::fork();
  if (id < 0) return fail_errno(errno, "fork");
  if (id == 0) {  // only async-signal-safe calls from here
    if (options.own_group) ::setpgid(0, 0);
    auto const in = options.inherit_input ? 0 : options.input.empty() ? null.get() : input.read.get();
    if (::dup2(in, 0) >= 0 && ::dup2(source_of(options.output, 1, output.write.get()), 1) >= 0 &&
        ::dup2(source_of(options.error, 2, error.write.get()), 2) >= 0) {
      auto none = sigset_t{};
      ::sigemptyset(&none);
      ::sigprocmask(SIG_SETMASK, &none, nullptr);
      ::signal(SIGPIPE, SIG_DFL);
      ::execve(program.c_str(), arguments.data(), environment.data());
    }
    auto const reason = errno;
    [[maybe_unused]] auto const ignored = ::write(status.write.get(), &reason, sizeof reason);
    ::_exit(127);
  }
  auto process = Process{};
  process.id_ = id;
  process.group_ = options.own_group;
  if (options.own_group) ::setpgid(id, id);
  if (options.output == Stream::capture) process.output_ = std::move(output.read);
  if (options.error == Stream::capture) process.error_ = std::move(error.read);
  status.write.reset();
  auto reason = 0;
  if (::read(status.read.get(), &reason, sizeof reason) == sizeof reason) {
    return fail_errno(reason, fmt::format("{}: cannot be run", program));
  }
  return process;
}

Process::Process(Process&& other) noexcept
    : id_{std::exchange(other.id_, -1)},
      group_{other.group_},
      output_{std::move(other.output_)},
      error_{std::move(other.error_)} {}

Process::~Process() {
  if (id_ < 0) return;
  static_cast<void>(kill(SIGKILL));
  ::waitpid(id_, nullptr, 0);
}

Result<> Process::kill(int signal) const {
  if (id_ < 0) return fail(Errc::gone, "process: it has ended");
  if (::kill(group_ ? -id_ : id_, signal) != 0) return fail_errno(errno, fmt::format("kill process {}", id_));
  return {};
}

Result<ExitStatus> Process::wait() {
  if (id_ < 0) return fail(Errc::gone, "process: it has been waited for");
  auto status = 0;
  while (::waitpid(id_, &status, 0) < 0) {
    if (errno != EINTR) return fail_errno(errno, fmt::format("wait for process {}", id_));
  }
  id_ = -1;
  if (WIFSIGNALED(status)) return ExitStatus{0, WTERMSIG(status)};
  return ExitStatus{WEXITSTATUS(status), 0};
}

}  // namespace vireo::host
