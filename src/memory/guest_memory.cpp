#include "memory/guest_memory.h"

#include <fmt/format.h>
#include <sched.h>
#include <sys/mman.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>

namespace vireo::memory {
namespace {

GuestMemory::Region const* find_region(GuestMemory::Regions const& regions, Gpa at) {
  auto const found = std::ranges::find_if(regions, [&](auto const& each) { return each.range.contains(at); });
  return found == regions.end() ? nullptr : &*found;
}

/// Visits the pieces of [at, at + length) in order; false when some of it is in no region.
template <typename Visit>
bool for_each_piece(GuestMemory::Regions const& regions, Gpa at, u64 length, Visit&& visit) {
  while (length > 0) {
    auto const* const region = find_region(regions, at);
    if (region == nullptr) return false;
    auto const offset = at - region->range.start;
    auto const piece = std::min(length, region->range.length - offset);
    if (!visit(*region, region->host + offset, piece)) return false;
    at = at + piece;
    length -= piece;
  }
  return true;
}

/// The parts of `regions` outside of `hole`.
GuestMemory::Regions without(GuestMemory::Regions const& regions, GpaRange hole) {
  auto rest = GuestMemory::Regions{};
  auto const add = [&](GuestMemory::Region const& region, Gpa start, Gpa end) {
    if (start >= end) return;
    auto const offset = start - region.range.start;
    rest.push_back(
        {{start, end - start}, region.host + offset, region.kind, region.fd, region.fd_offset + offset});
  };
  for (auto const& region : regions) {
    add(region, region.range.start, std::min(region.range.end(), hole.start));
    add(region, std::max(region.range.start, hole.end()), region.range.end());
  }
  return rest;
}

}  // namespace

/// Keeps the present map from going away.
class GuestMemory::Reading {
 public:
  explicit Reading(GuestMemory const& memory) : memory_{memory} {
    memory_.readers_.fetch_add(1, std::memory_order_seq_cst);
    regions_ = memory_.map_.load(std::memory_order_seq_cst);
  }
  ~Reading() { memory_.readers_.fetch_sub(1, std::memory_order_release); }
  Reading(Reading const&) = delete;
  Reading& operator=(Reading const&) = delete;
  Regions const& operator*() const { return *regions_; }

 private:
  GuestMemory const& memory_;
  Regions const* regions_;
};

GuestMemory::GuestMemory() : map_{new Regions} {}

GuestMemory::~GuestMemory() {
  delete map_.load();
  for (auto const& block : blocks_) {
    ::munmap(block.host, block.range.length);
    ::close(block.fd);
  }
}

// SOUND: who counts itself before the exchange may hold the old map, and is waited for; who does so after it
// loads the new one. Readers are short and hold no lock.
void GuestMemory::show(Regions&& regions) {
  auto const* const old = map_.exchange(new Regions{std::move(regions)}, std::memory_order_seq_cst);
  while (readers_.load(std::memory_order_seq_cst) != 0) ::sched_yield();
  delete old;
}

void GuestMemory::set_windows(std::span<Window const> windows) {
  auto regions = without(blocks_, {apart, ~u64{0} - apart.value});
  for (auto const& window : windows) {
    regions = without(regions, window.range);
    if (window.host == nullptr) continue;
    auto const block = std::ranges::find_if(blocks_, [&](Region const& each) {
      return window.host >= each.host && window.host < each.host + each.range.length;
    });
    auto const offset = static_cast<u64>(window.host - block->host);
    regions.push_back({window.range, window.host, window.kind, block->fd, block->fd_offset + offset});
  }
  std::ranges::sort(regions, {}, [](Region const& each) { return each.range.start; });
  show(std::move(regions));
}

Result<> GuestMemory::add(GpaRange range, RegionKind kind) {
  if (range.length == 0 || range.start.value % page_size != 0 || range.length % page_size != 0) {
    return fail(Errc::invalid, fmt::format("memory region {:#x}+{:#x} is not made of whole pages",
                                           range.start.value, range.length));
  }
  if (range.start.value + range.length < range.start.value ||
      std::ranges::any_of(blocks_, [&](Region const& other) { return other.range.overlaps(range); })) {
    return fail(Errc::invalid,
                fmt::format("memory region {:#x}+{:#x} overlaps another", range.start.value, range.length));
  }
  auto const fd = ::memfd_create("vireo-guest-memory", MFD_CLOEXEC);
  if (fd < 0) return fail(Errc::io, fmt::format("memfd_create: {}", std::strerror(errno)));
  if (::ftruncate(fd, static_cast<off_t>(range.length)) != 0) {
    auto const reason = errno;
    ::close(fd);
    return fail(Errc::no_space,
                fmt::format("guest memory of {} MiB: {}", range.length / MiB, std::strerror(reason)));
  }
  // SOUND: a fresh shared mapping of our own memfd; it lives until the destructor unmaps it.
  auto* const host = ::mmap(nullptr, range.length, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_NORESERVE, fd, 0);
  if (host == MAP_FAILED) {
    auto const reason = errno;
    ::close(fd);
    return fail(Errc::no_space,
                fmt::format("guest memory of {} MiB: {}", range.length / MiB, std::strerror(reason)));
  }
  // Huge pages cut the host's own TLB misses; a host without them simply goes on with small ones.
  ::madvise(host, range.length, MADV_HUGEPAGE);
  ::madvise(host, range.length, MADV_DONTDUMP);
  auto const where =
      std::ranges::upper_bound(blocks_, range.start, {}, [](Region const& each) { return each.range.start; });
  blocks_.insert(where, Region{range, static_cast<std::byte*>(host), kind, fd, 0});
  set_windows({});
  return {};
}

Result<Bytes> GuestMemory::add_apart(u64 bytes) {
  auto const at = blocks_.empty() ? apart : std::max(apart, blocks_.back().range.end());
  TRY(add({at, bytes}, RegionKind::ram));
  return Bytes{blocks_.back().host, bytes};
}

std::vector<GpaRange> GuestMemory::ram() const {
  auto ranges = std::vector<GpaRange>{};
  for (auto const& block : blocks_) {
    if (block.range.start < apart && block.kind == RegionKind::ram) ranges.push_back(block.range);
  }
  return ranges;
}

u64 GuestMemory::ram_bytes() const {
  auto total = u64{0};
  for (auto const& range : ram()) total += range.length;
  return total;
}

std::optional<GuestMemory::Region> GuestMemory::find(Gpa at) const {
  auto const reading = Reading{*this};
  auto const* const found = find_region(*reading, at);
  return found != nullptr ? std::optional{*found} : std::nullopt;
}

std::byte* GuestMemory::host(Gpa at, u64 length, bool for_write) const {
  auto const region = find(at);
  if (!region || !region->range.contains(at, length)) return nullptr;
  if (for_write && region->kind != RegionKind::ram) return nullptr;
  return region->host + (at - region->range.start);
}

Result<> GuestMemory::read(Gpa at, Bytes into) const {
  auto const reading = Reading{*this};
  if (!for_each_piece(*reading, at, into.size(), [](auto const&, auto*, u64) { return true; })) {
    return fail(Errc::invalid, fmt::format("no memory at {:#x}+{:#x}", at.value, into.size()));
  }
  auto* to = into.data();
  for_each_piece(*reading, at, into.size(), [&](auto const&, std::byte const* host, u64 length) {
    std::memcpy(to, host, length);
    to += length;
    return true;
  });
  return {};
}

Result<> GuestMemory::write(Gpa at, ConstBytes from) {
  auto const is_ram = [](Region const& region, auto*, u64) { return region.kind == RegionKind::ram; };
  auto const fits = [&] {
    auto const reading = Reading{*this};
    return for_each_piece(*reading, at, from.size(), is_ram);
  }();
  if (!fits)
    return fail(Errc::invalid, fmt::format("no writable memory at {:#x}+{:#x}", at.value, from.size()));
  return load(at, from);
}

Result<> GuestMemory::load(Gpa at, ConstBytes from) {
  {
    auto const reading = Reading{*this};
    if (!for_each_piece(*reading, at, from.size(), [](auto const&, auto*, u64) { return true; })) {
      return fail(Errc::invalid, fmt::format("no memory at {:#x}+{:#x}", at.value, from.size()));
    }
    auto const* source = from.data();
    for_each_piece(*reading, at, from.size(), [&](auto const&, std::byte* host, u64 length) {
      std::memcpy(host, source, length);
      source += length;
      return true;
    });
  }
  note_written(at, from.size());
  return {};
}

}  // namespace vireo::memory
