#include "host/paths.h"

#include <fmt/format.h>
#include <pwd.h>
#include <unistd.h>

#include <cstdlib>
#include <string_view>

namespace vireo::host {
namespace {

std::string_view variable(char const* name) {
  auto const* const value = std::getenv(name);
  return value != nullptr ? value : "";
}

std::string users_home() {
  if (auto const home = variable("HOME"); !home.empty()) return std::string{home};
  auto const* const user = ::getpwuid(::geteuid());
  return user != nullptr ? user->pw_dir : "/tmp";
}

}  // namespace

std::string home_folder() {
  if (auto const home = variable("VIREO_HOME"); !home.empty()) return std::string{home};
  if (::geteuid() == 0) return "/var/lib/vireo";
  if (auto const data = variable("XDG_DATA_HOME"); !data.empty()) return fmt::format("{}/vireo", data);
  return users_home() + "/.local/share/vireo";
}

std::string run_folder() {
  if (auto const run = variable("VIREO_RUN"); !run.empty()) return std::string{run};
  if (::geteuid() == 0) return "/run/vireo";
  if (auto const runtime = variable("XDG_RUNTIME_DIR"); !runtime.empty())
    return fmt::format("{}/vireo", runtime);
  return fmt::format("/tmp/vireo-{}", ::geteuid());
}

}  // namespace vireo::host
