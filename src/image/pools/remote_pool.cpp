#include "image/pools/remote_pool.h"

#include <fmt/format.h>

#include <algorithm>

#include "host/paths.h"
#include "image/backend.h"
#include "image/operations/describe.h"
#include "image/operations/resize.h"
#include "image/pools/catalog.h"
#include "image/pools/promise.h"
#include "image/storage.h"

namespace vireo::image {
namespace {

constexpr auto catalog_name = "vireo-pool";

}  // namespace

std::string RemotePool::url_of(std::string const& file) const {
  auto const question = std::min(spec_.location.find('?'), spec_.location.size());
  auto folder = spec_.location.substr(0, question);
  while (folder.ends_with('/')) folder.pop_back();
  return fmt::format("{}/{}{}", folder, file, spec_.location.substr(question));
}

Result<host::File> RemotePool::lock() const {
  auto const folder = host::home_folder() + "/pools";
  TRY(host::make_folders(folder));
  return lock_pool(spec_.name, fmt::format("{}/.{}.lock", folder, spec_.name));
}

Result<std::vector<Volume>> RemotePool::volumes() {
  auto found = std::vector<Volume>{};
  for (auto const& each : TRY(Catalog::read(url_of(catalog_name)))) {
    auto volume =
        Volume{.name = each.name, .format = each.format, .path = url_of(each.name + "." + each.format)};
    auto const read = [&]() -> Result<> {
      auto const storage = TRY(Storage::open(volume.path, false, CacheMode::writeback));
      volume.used = TRY(storage.size());
      auto const description = TRY(describe_image(volume.path, volume.format));
      volume.bytes = description.bytes;
      if (!description.backing_file.empty())
        volume.backing = name_beside(volume.path, description.backing_file);
      return {};
    }();
    if (!read) volume.fault = read.error().what();
    found.push_back(std::move(volume));
  }
  std::ranges::sort(found, {}, &Volume::name);
  return found;
}

Result<PoolFigures> RemotePool::figures() {
  auto const all = TRY(volumes());
  return figures_of(spec_, all, {.all = spec_.capacity, .free = ~u64{0}});
}

Result<Volume> RemotePool::create(std::string const& name, u64 bytes, std::string const& format,
                                  Preallocation preallocation) {
  TRY(check_new_volume(spec_, name, format));
  auto const kind = format.empty() ? spec_.format : format;
  auto const held = TRY(lock());
  auto catalog = TRY(Catalog::open(url_of(catalog_name)));
  auto const taken = catalog.entries();
  if (std::ranges::find(taken, name, &Catalog::Entry::name) != taken.end())
    return fail(Errc::busy, fmt::format("pool {}: volume '{}' exists", spec_.name, name));
  auto const now = TRY(figures());
  TRY(check_promise(spec_, now, bytes, preallocation));
  // Named first: what a crash leaves can be deleted.
  TRY(catalog.add({name, kind}));
  auto const made = create_image(
      {.path = url_of(name + "." + kind), .format = kind, .bytes = bytes, .preallocation = preallocation});
  if (!made) {
    static_cast<void>(catalog.remove(name));
    return std::unexpected{made.error()};
  }
  return find(name);
}

Result<> RemotePool::resize(std::string const& name, u64 bytes, bool shrink) {
  auto const held = TRY(lock());
  auto const catalog = TRY(Catalog::open(url_of(catalog_name)));
  auto const volume = TRY(find(name));
  auto const now = TRY(figures());
  if (bytes > volume.bytes) TRY(check_promise(spec_, now, bytes - volume.bytes, Preallocation::off));
  return resize_image({.path = volume.path, .format = volume.format, .bytes = bytes, .shrink = shrink});
}

Result<> RemotePool::remove(std::string const& name) {
  auto const held = TRY(lock());
  auto catalog = TRY(Catalog::open(url_of(catalog_name)));
  auto const volume = TRY(find(name));
  for (auto const& each : TRY(volumes())) {
    if (each.backing == volume.path)
      return fail(Errc::busy, fmt::format("pool {}: volume '{}' lies over '{}'", spec_.name, each.name, name));
  }
  auto const there = Storage::open(volume.path, true, CacheMode::writeback);
  if (!there && there.error().code() != Errc::not_found) return std::unexpected{there.error()};
  if (there) {
    TRY_IN(fmt::format("volume {}", name), there->lock());
    TRY(remove_backend(volume.path));
  }
  return catalog.remove(name);
}

}  // namespace vireo::image
