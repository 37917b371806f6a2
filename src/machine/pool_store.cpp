#include "machine/pool_store.h"

#include <fmt/format.h>
#include <unistd.h>
#include <yaml-cpp/yaml.h>

#include <algorithm>
#include <cerrno>
#include <filesystem>

#include "host/file.h"
#include "host/paths.h"
#include "host/system_error.h"
#include "image/backend.h"
#include "vocab/units.h"

namespace vireo::machine {
namespace {

namespace fs = std::filesystem;
using image::PoolSpec;

std::string definition(PoolSpec const& spec) {
  auto out = YAML::Emitter{};
  out << YAML::BeginMap << YAML::Key << "apiVersion" << YAML::Value << "vireo/v1" << YAML::Key << "kind"
      << YAML::Value << "Pool" << YAML::Key << "name" << YAML::Value << spec.name << YAML::Key << "spec"
      << YAML::Value << YAML::BeginMap;
  auto const put = [&](char const* key, std::string const& value) {
    out << YAML::Key << key << YAML::Value << value;
  };
  put("kind", spec.kind);
  put("location", spec.location);
  put("format", spec.format);
  if (spec.capacity != 0) put("capacity", format_size(spec.capacity));
  out << YAML::Key << "alarm_percent" << YAML::Value << spec.alarm_percent << YAML::Key << "promise_percent"
      << YAML::Value << spec.promise_percent << YAML::EndMap << YAML::EndMap;
  return std::string{out.c_str()} + "\n";
}

Result<> take(PoolSpec& spec, std::string const& key, std::string const& value) {
  if (key == "kind") spec.kind = value;
  if (key == "location") spec.location = value;
  if (key == "format") spec.format = value;
  if (key == "capacity") spec.capacity = TRY(parse_size(value));
  if (key == "alarm_percent") spec.alarm_percent = static_cast<u32>(TRY(parse_number(value, 100)));
  if (key == "promise_percent") spec.promise_percent = static_cast<u32>(TRY(parse_number(value, 100'000)));
  return {};
}

Result<PoolSpec> read(std::string const& path, std::string_view name) {
  static auto const known =
      std::vector<std::string>{"kind", "location", "format", "capacity", "alarm_percent", "promise_percent"};
  auto const text = TRY(host::read_text(path, 65536));
  auto spec = PoolSpec{.name = std::string{name}};
  try {
    auto const root = YAML::Load(text);
    if (!root.IsMap() || root["kind"].as<std::string>("") != "Pool" || !root["spec"].IsMap())
      return fail(Errc::corrupt, fmt::format("{}: no definition of a pool", path));
    for (auto const& entry : root["spec"]) {
      auto const key = entry.first.as<std::string>();
      auto const where = fmt::format("{}: line {}: {}", path, entry.first.Mark().line + 1, key);
      if (std::ranges::find(known, key) == known.end())
        return fail(Errc::invalid,
                    fmt::format("{}: unknown key; did you mean '{}'?", where, nearest(key, known)));
      if (!entry.second.IsScalar()) return fail(Errc::invalid, where + ": text or a number is expected");
      TRY_IN(where, take(spec, key, entry.second.Scalar()));
    }
  } catch (YAML::Exception const& exception) {
    return fail(Errc::corrupt, fmt::format("{}: {}", path, exception.what()));
  }
  return spec;
}

}  // namespace

PoolStore::PoolStore() : PoolStore{host::home_folder() + "/pools"} {}

Result<std::vector<PoolSpec>> PoolStore::list() const {
  auto pools = std::vector<PoolSpec>{};
  auto failure = std::error_code{};
  for (auto const& entry : fs::directory_iterator{folder_, failure}) {
    auto const name = entry.path().stem().string();
    if (entry.path().extension() != ".yaml" || !image::check_pool_name("pool", name)) continue;
    pools.push_back(TRY(read(entry.path().string(), name)));
  }
  if (failure && failure != std::errc::no_such_file_or_directory)
    return host::fail_errno(failure.value(), folder_);
  std::ranges::sort(pools, {}, &PoolSpec::name);
  return pools;
}

Result<PoolSpec> PoolStore::find(std::string_view name) const {
  TRY(image::check_pool_name("pool", name));
  auto found = read(path_of(name), name);
  if (found || found.error().code() != Errc::not_found) return found;
  auto names = std::vector<std::string>{};
  for (auto const& each : TRY(list())) names.push_back(each.name);
  auto const near = nearest(name, names);
  return fail(Errc::not_found, fmt::format("no pool '{}'; {}", name,
                                           near.empty() ? "vireo pool create makes one"
                                                        : fmt::format("did you mean '{}'?", near)));
}

Result<> PoolStore::add(PoolSpec const& spec) const {
  TRY(image::check_pool_spec(spec));
  TRY(host::make_folders(folder_));
  TRY(image::open_pool(spec));
  // In one step, and only when there is none of that name.
  auto const draft = fmt::format("{}/.{}.{}", folder_, spec.name, ::getpid());
  TRY(host::write_text(draft, definition(spec)));
  auto const linked = ::link(draft.c_str(), path_of(spec.name).c_str());
  auto const reason = errno;
  ::unlink(draft.c_str());
  if (linked == 0) return {};
  if (reason == EEXIST) return fail(Errc::busy, fmt::format("pool '{}' exists", spec.name));
  return host::fail_errno(reason, path_of(spec.name));
}

Result<> PoolStore::remove(std::string_view name, bool force) const {
  auto const spec = TRY(find(name));
  if (!force) {
    auto const pool = TRY(image::open_pool(spec));
    auto const count = TRY(pool->volumes()).size();
    if (count != 0)
      return fail(Errc::busy,
                  fmt::format("pool '{}' has {} volumes; --force forgets it, and leaves them", name, count));
  }
  if (::unlink(path_of(name).c_str()) != 0) return host::fail_errno(errno, path_of(name));
  return {};
}

Result<> resolve_volume(DiskConfig& disk, PoolStore const& store) {
  auto const colon = disk.path.find(':');
  auto failure = std::error_code{};
  if (colon == std::string::npos || image::is_url(disk.path) || fs::exists(disk.path, failure)) return {};
  auto const name = disk.path.substr(0, colon);
  if (!image::check_pool_name("pool", name)) return {};
  auto const spec = store.find(name);
  // "rbd:POOL/IMAGE" and the like are names of their own.
  if (!spec && spec.error().code() == Errc::not_found && disk.path.find('/') != std::string::npos) return {};
  if (!spec) return std::unexpected{Error{spec.error()}.in(disk.path)};
  auto const pool = TRY(image::open_pool(*spec));
  auto const volume = TRY(pool->find(disk.path.substr(colon + 1)));
  if (!volume.fault.empty()) return fail(Errc::corrupt, fmt::format("{}: {}", disk.path, volume.fault));
  if (disk.format.empty()) disk.format = volume.format;
  disk.path = volume.path;
  return {};
}

}  // namespace vireo::machine
