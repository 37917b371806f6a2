#include <fcntl.h>
#include <fmt/format.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <filesystem>

#include "host/file.h"
#include "host/system_error.h"

namespace vireo::host {

Result<std::string> read_text(std::string const& path, u64 limit) {
  auto const file = TRY(File::open(path, {}));
  auto text = std::string{};
  for (auto full = true; full;) {
    auto const before = text.size();
    auto const chunk = std::size_t{64} << 10;
    if (before > limit) return fail(Errc::invalid, fmt::format("{}: larger than {} bytes", path, limit));
    text.resize(before + chunk);
    auto const count = TRY(file.read_some(before, std::as_writable_bytes(std::span{text}.subspan(before))));
    text.resize(before + count);
    full = count == chunk;
  }
  return text;
}

Result<> write_text(std::string const& path, std::string_view text, unsigned mode) {
  auto name = path + ".XXXXXX";
  auto const fd = ::mkstemp(name.data());
  if (fd < 0) return fail_errno(errno, fmt::format("{}: cannot create", path));
  auto const written = [&]() -> Result<> {
    auto const file = TRY(File::adopt(fd, name));
    TRY(file.write(0, std::as_bytes(std::span{text})));
    if (::fchmod(fd, mode) != 0) return fail_errno(errno, path);
    TRY(file.sync());
    if (::rename(name.c_str(), path.c_str()) != 0) return fail_errno(errno, fmt::format("{}: rename", path));
    return {};
  }();
  if (!written) ::unlink(name.c_str());
  return written;
}

Result<> sync_folder(std::string const& path) {
  auto const folder = Descriptor{::open(path.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC)};
  if (!folder || ::fsync(folder.get()) != 0) return fail_errno(errno, fmt::format("{}: sync", path));
  return {};
}

Result<> make_folders(std::string const& path, unsigned mode) {
  auto so_far = std::filesystem::path{};
  for (auto const& part : std::filesystem::path{path}) {
    so_far /= part;
    if (::mkdir(so_far.c_str(), mode) != 0 && errno != EEXIST && !std::filesystem::is_directory(so_far)) {
      return fail_errno(errno, fmt::format("{}: cannot make the folder", so_far.string()));
    }
  }
  if (!std::filesystem::is_directory(so_far)) return fail(Errc::invalid, fmt::format("{}: not a folder", path));
  return {};
}

}  // namespace vireo::host
