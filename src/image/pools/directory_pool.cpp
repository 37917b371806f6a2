#include "image/pools/directory_pool.h"

#include <fmt/format.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <filesystem>
#include <set>

#include "host/system_error.h"
#include "image/backend.h"
#include "image/bitmaps/sidecar.h"
#include "image/formats.h"
#include "image/image_format.h"
#include "image/operations/describe.h"
#include "image/operations/resize.h"
#include "image/operations/snapshot.h"
#include "image/pools/promise.h"
#include "image/storage.h"

namespace vireo::image {
namespace {

namespace fs = std::filesystem;

constexpr std::array<std::string_view, 6> extensions{"raw", "qcow2", "vmdk", "vhd", "vhdx", "vdi"};

u64 bytes_on_disk(std::string const& path) {
  struct stat status{};
  return ::lstat(path.c_str(), &status) == 0 ? static_cast<u64>(status.st_blocks) * 512 : 0;
}
std::vector<std::string> sidecars(std::string const& path) {
  return {snapshot_sidecar(path), bitmap_sidecar(path)};
}

/// The file that its name leads to, which is not opened. A VDI image names a UUID, and its parent lies in its
/// folder.
std::string backing_of(std::string const& path, Description const& description) {
  if (description.backing_file.empty()) return {};
  if (description.format == "vdi") {
    auto const storage = Storage::open(path, false, CacheMode::writeback);
    auto const parent = storage ? find_format("vdi")->find_parent(*storage) : Result<std::string>{};
    return parent.value_or("");
  }
  auto name = description.backing_file;
  if (description.format == "vhd" || description.format == "vhdx") std::ranges::replace(name, '\\', '/');
  return name_beside(path, name);
}

Result<PoolSpace> space_at(std::string const& folder) {
  struct statvfs status{};
  if (::statvfs(folder.c_str(), &status) != 0) return host::fail_errno(errno, folder);
  return PoolSpace{status.f_blocks * status.f_frsize, status.f_bavail * status.f_frsize};
}

}  // namespace

Result<std::vector<Volume>> DirectoryPool::volumes() {
  auto found = std::vector<Volume>{};
  auto extents = std::set<std::string>{};
  auto failure = std::error_code{};
  for (auto const& entry : fs::directory_iterator{spec_.location, failure}) {
    auto const path = entry.path().string();
    auto const extension = entry.path().extension().string();
    auto volume = Volume{.name = entry.path().stem().string(),
                         .format = extension.empty() ? "" : extension.substr(1),
                         .path = path};
    auto ignored = std::error_code{};
    auto const known = std::ranges::find(extensions, volume.format) != extensions.end();
    if (!known || !check_pool_name("volume", volume.name) || entry.is_symlink(ignored) ||
        !entry.is_regular_file(ignored))
      continue;
    auto const description = describe_image(path, volume.format);
    volume.used = description ? host_bytes(*description) : bytes_on_disk(path);
    for (auto const& each : sidecars(path)) volume.used += bytes_on_disk(each);
    if (description) {
      volume.bytes = description->bytes;
      volume.backing = backing_of(path, *description);
      for (auto const& each : description->files) {
        if (each != path) extents.insert(each);
      }
    } else {
      volume.fault = description.error().what();
    }
    found.push_back(std::move(volume));
  }
  if (failure) return host::fail_errno(failure.value(), spec_.location);
  std::erase_if(found, [&](Volume const& each) { return extents.contains(each.path); });
  std::ranges::sort(found, {}, &Volume::name);
  return found;
}

Result<PoolFigures> DirectoryPool::figures() {
  auto space = TRY(space_at(spec_.location));
  auto const all = TRY(volumes());
  // Others may use the file system too: what is theirs is no room of this pool's.
  space.all = space.free;
  for (auto const& each : all) space.all += each.used;
  return figures_of(spec_, all, space);
}

Result<host::File> DirectoryPool::lock() const {
  return lock_pool(spec_.name, spec_.location + "/.vireo-pool.lock");
}

Result<Volume> DirectoryPool::create(std::string const& name, u64 bytes, std::string const& format,
                                     Preallocation preallocation) {
  TRY(check_new_volume(spec_, name, format));
  auto const kind = format.empty() ? spec_.format : format;
  auto const held = TRY(lock());
  for (auto const& each : TRY(volumes())) {
    if (each.name == name)
      return fail(Errc::busy, fmt::format("pool {}: volume '{}' exists", spec_.name, name));
  }
  auto const now = TRY(figures());
  TRY(check_promise(spec_, now, bytes, preallocation));
  auto const path = fmt::format("{}/{}.{}", spec_.location, name, kind);
  TRY(create_image({.path = path, .format = kind, .bytes = bytes, .preallocation = preallocation}));
  return find(name);
}

Result<> DirectoryPool::resize(std::string const& name, u64 bytes, bool shrink) {
  auto const held = TRY(lock());
  auto const volume = TRY(find(name));
  auto const now = TRY(figures());
  if (bytes > volume.bytes) TRY(check_promise(spec_, now, bytes - volume.bytes, Preallocation::off));
  return resize_image({.path = volume.path, .format = volume.format, .bytes = bytes, .shrink = shrink});
}

Result<> DirectoryPool::remove(std::string const& name) {
  auto const held = TRY(lock());
  auto const volume = TRY(find(name));
  auto failure = std::error_code{};
  for (auto const& each : TRY(volumes())) {
    if (!each.backing.empty() && fs::equivalent(each.backing, volume.path, failure))
      return fail(Errc::busy, fmt::format("pool {}: volume '{}' lies over '{}'", spec_.name, each.name, name));
  }
  {
    auto const storage = TRY(Storage::open(volume.path, true, CacheMode::writeback));
    TRY_IN(fmt::format("volume {}", name), storage.lock());
  }
  auto files = sidecars(volume.path);
  if (auto const description = describe_image(volume.path, volume.format)) {
    files.insert(files.end(), description->files.begin(), description->files.end());
  }
  for (auto const& each : files) {
    if (each != volume.path) ::unlink(each.c_str());
  }
  if (::unlink(volume.path.c_str()) != 0) return host::fail_errno(errno, volume.path);
  return {};
}

}  // namespace vireo::image
