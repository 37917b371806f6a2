#include "host/lock_holder.h"

#include <dirent.h>
#include <fmt/format.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <memory>

namespace vireo::host {
namespace {

struct CloseFolder {
  void operator()(DIR* folder) const { ::closedir(folder); }
};
using Folder = std::unique_ptr<DIR, CloseFolder>;

bool has_open(pid_t process, File::Identity file) {
  auto const path = fmt::format("/proc/{}/fd", process);
  auto const folder = Folder{::opendir(path.c_str())};
  if (!folder) return false;
  while (auto const* entry = ::readdir(folder.get())) {
    struct stat status{};
    if (::stat(fmt::format("{}/{}", path, entry->d_name).c_str(), &status) != 0) continue;
    if (File::Identity{status.st_dev, status.st_ino} == file) return true;
  }
  return false;
}

}  // namespace

std::string lock_holder_hint(File::Identity file) {
  auto const processes = Folder{::opendir("/proc")};
  if (!processes) return {};
  while (auto const* entry = ::readdir(processes.get())) {
    auto const process = static_cast<pid_t>(std::atoi(entry->d_name));
    if (process <= 0 || process == ::getpid() || !has_open(process, file)) continue;
    auto name = std::string{};
    std::getline(std::ifstream{fmt::format("/proc/{}/comm", process)}, name);
    return fmt::format("{} (process {})", name, process);
  }
  return "this process or one that is hidden from us";
}

}  // namespace vireo::host
