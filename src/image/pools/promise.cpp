#include "image/pools/promise.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <chrono>
#include <thread>

#include "host/clock.h"
#include "vocab/units.h"

namespace vireo::image {
namespace {

constexpr u64 lock_patience_ns{30'000'000'000};
constexpr std::array<std::string_view, 6> formats{"raw", "qcow2", "vmdk", "vhd", "vhdx", "vdi"};

/// Saturating: a percentage of 16 EiB is no number.
u64 percent(u64 bytes, u64 parts) {
  auto const product = static_cast<unsigned __int128>(bytes) * parts / 100;
  return product > ~u64{0} ? ~u64{0} : static_cast<u64>(product);
}

}  // namespace

PoolFigures figures_of(PoolSpec const& spec, std::vector<Volume> const& volumes, PoolSpace const& space) {
  auto figures = PoolFigures{};
  for (auto const& each : volumes) {
    figures.promised += each.bytes;
    figures.used += each.used;
  }
  figures.capacity = spec.capacity == 0 ? space.all : std::min(spec.capacity, space.all);
  figures.free = std::min(space.free, figures.capacity - std::min(figures.used, figures.capacity));
  auto const most = spec.promise_percent == 0 ? ~u64{0} : percent(figures.capacity, spec.promise_percent);
  figures.may_promise = most - std::min(figures.promised, most);
  figures.alarm = figures.used >= percent(figures.capacity, spec.alarm_percent);
  return figures;
}

Result<> check_promise(PoolSpec const& spec, PoolFigures const& now, u64 more, Preallocation preallocation) {
  auto const reserves = preallocation == Preallocation::full || preallocation == Preallocation::falloc;
  if (reserves && more > now.free)
    return fail(Errc::no_space, fmt::format("pool {}: has no room for {}", spec.name, format_size(more)));
  if (more <= now.may_promise) return {};
  return fail(Errc::no_space,
              fmt::format("pool {}: {} more is too much: {} of {} are promised already, and {} percent may be",
                          spec.name, format_size(more), format_size(now.promised), format_size(now.capacity),
                          spec.promise_percent));
}

Result<> check_new_volume(PoolSpec const& spec, std::string const& name, std::string const& format) {
  TRY(check_pool_name("volume", name));
  auto const kind = format.empty() ? std::string_view{spec.format} : std::string_view{format};
  if (std::ranges::find(formats, kind) != formats.end()) return {};
  return fail(Errc::invalid, fmt::format("volume format '{}': raw, qcow2, vmdk, vhd, vhdx or vdi", kind));
}

Result<host::File> lock_pool(std::string const& name, std::string const& path) {
  auto file = TRY(host::File::open(path, {.write = true, .create = true}));
  auto const deadline = host::monotonic_ns() + lock_patience_ns;
  while (true) {
    auto const locked = file.lock(host::File::Lock::exclusive);
    if (locked) return file;
    if (locked.error().code() != Errc::busy || host::monotonic_ns() > deadline)
      return fail(locked.error().code(), fmt::format("pool {}: {}", name, locked.error().what()));
    std::this_thread::sleep_for(std::chrono::milliseconds{20});
  }
}

}  // namespace vireo::image
