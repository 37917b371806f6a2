#include "image/pools/pool.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>

#include "image/backend.h"
#include "image/formats.h"
#include "image/pools/directory_pool.h"
#include "image/pools/remote_pool.h"
#include "vocab/units.h"

namespace vireo::image {

Result<> check_pool_name(std::string_view what, std::string_view name) {
  auto const plain = [](char letter) {
    return (letter >= 'a' && letter <= 'z') || (letter >= '0' && letter <= '9');
  };
  auto const allowed = [&](char letter) {
    return plain(letter) || letter == '.' || letter == '_' || letter == '-';
  };
  if (!name.empty() && name.size() <= 63 && plain(name.front()) && std::ranges::all_of(name, allowed))
    return {};
  return fail(
      Errc::invalid,
      fmt::format("{} name '{:.80}': lower-case letters, digits, '.', '_' and '-', at most 63, a letter or "
                  "digit first",
                  what, name));
}

Result<> check_pool_spec(PoolSpec const& spec) {
  TRY(check_pool_name("pool", spec.name));
  auto const in = [&](std::string_view text) {
    return fail(Errc::invalid, fmt::format("pool {}: {}", spec.name, text));
  };
  if (spec.kind == "iscsi" || spec.kind == "rbd") {
    return fail(
        Errc::unsupported,
        fmt::format("pool {}: kind {} is not there yet; a share that the host has mounted is a directory",
                    spec.name, spec.kind));
  }
  if (spec.kind != "directory" && spec.kind != "nfs")
    return in(fmt::format("kind '{}': directory or nfs", spec.kind));
  if (spec.kind == "directory" && !spec.location.starts_with('/'))
    return in("location: a folder's absolute path");
  if (spec.kind == "nfs" && (!spec.location.starts_with("nfs://") || !holds_files(spec.location)))
    return in("location: nfs://HOST/EXPORT/FOLDER");
  if (spec.kind == "nfs" && spec.capacity == 0)
    return in("capacity: must be stated, since the server is not asked");
  if (find_format(spec.format) == nullptr || spec.format == "luks")
    return in(fmt::format("format '{}': raw, qcow2, vmdk, vhd, vhdx or vdi", spec.format));
  if (spec.alarm_percent == 0 || spec.alarm_percent > 100) return in("alarm: 1 to 100 percent");
  if (spec.promise_percent > 100'000) return in("promise: up to 100000 percent, 0: any amount");
  return {};
}

Result<Volume> Pool::find(std::string const& name) {
  TRY(check_pool_name("volume", name));
  auto names = std::vector<std::string>{};
  for (auto& each : TRY(volumes())) {
    if (each.name == name) return std::move(each);
    names.push_back(each.name);
  }
  auto const near = nearest(name, names);
  return fail(Errc::not_found, fmt::format("pool {} has no volume '{}'{}", spec().name, name,
                                           near.empty() ? "" : fmt::format("; did you mean '{}'?", near)));
}

Result<std::unique_ptr<Pool>> open_pool(PoolSpec const& spec) {
  TRY(check_pool_spec(spec));
  if (spec.kind == "nfs") return std::make_unique<RemotePool>(spec);
  TRY(host::make_folders(spec.location));
  return std::make_unique<DirectoryPool>(spec);
}

}  // namespace vireo::image
