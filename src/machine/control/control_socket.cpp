#include "machine/control/control_socket.h"

#include <fmt/format.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <filesystem>

#include "host/file.h"
#include "host/paths.h"
#include "host/socket.h"
#include "host/system_error.h"

namespace vireo::machine {
namespace {

constexpr std::string_view suffix{".control"};
constexpr int most_of_a_name{1000};

std::string folder() { return host::run_folder() + "/machines"; }

/// Who may write into the folder rules its machines.
Result<> make_private_folder(std::string const& path) {
  TRY(host::make_folders(path, 0700));
  auto status = (struct stat){};
  if (::stat(path.c_str(), &status) != 0) return host::fail_errno(errno, path);
  if (status.st_uid == ::geteuid() && (status.st_mode & 022) == 0) return {};
  return fail(
      Errc::denied,
      fmt::format("{}: others may write here; make it your own, or set VIREO_RUN to another folder", path));
}

}  // namespace

std::string control_path(std::string const& name) { return fmt::format("{}/{}{}", folder(), name, suffix); }

Result<ControlSocket> ControlSocket::claim(std::string const& name) {
  TRY(make_private_folder(folder()));
  auto path = control_path(name);
  auto listener = host::listen_unix(path);
  if (listener) return ControlSocket{name, std::move(path), std::move(*listener)};
  if (listener.error().code() != Errc::busy) return std::unexpected{std::move(listener).error()};
  return fail(Errc::busy,
              fmt::format("name: a machine named '{}' runs already; give this one another --name", name));
}

Result<ControlSocket> ControlSocket::claim_free(std::string const& name) {
  for (auto i = 1; i < most_of_a_name; ++i) {
    auto socket = claim(i == 1 ? name : fmt::format("{}-{}", name, i));
    if (socket || socket.error().code() != Errc::busy) return socket;
  }
  return fail(Errc::busy, fmt::format("name: too many machines are named '{}'; give this one a --name", name));
}

ControlSocket::~ControlSocket() {
  if (listener_) ::unlink(path_.c_str());
}

std::vector<std::string> control_names() {
  auto names = std::vector<std::string>{};
  auto failure = std::error_code{};
  for (auto const& entry : std::filesystem::directory_iterator{folder(), failure}) {
    auto const file = entry.path().filename().string();
    if (file.ends_with(suffix)) names.push_back(file.substr(0, file.size() - suffix.size()));
  }
  std::ranges::sort(names);
  return names;
}

}  // namespace vireo::machine
