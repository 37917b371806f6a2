#include "memory/guest_memory.h"

#include <fmt/format.h>
#include <sys/mman.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>

namespace vireo::memory {
namespace {

/// Visits the pieces of [at, at + length) in order; false when some of it is in no region.
template <typename Visit>
bool for_each_piece(GuestMemory const& memory, Gpa at, u64 length, Visit&& visit) {
  while (length > 0) {
    auto const* const region = memory.find(at);
    if (region == nullptr) return false;
    auto const offset = at - region->range.start;
    auto const piece = std::min(length, region->range.length - offset);
    if (!visit(*region, region->host + offset, piece)) return false;
    at = at + piece;
    length -= piece;
  }
  return true;
}

}  // namespace

GuestMemory::~GuestMemory() {
  for (auto const& region : regions_) {
    ::munmap(region.host, region.range.length);
    ::close(region.fd);
  }
}

Result<> GuestMemory::add(GpaRange range, RegionKind kind) {
  if (range.length == 0 || range.start.value % page_size != 0 || range.length % page_size != 0) {
    return fail(Errc::invalid, fmt::format("memory region {:#x}+{:#x} is not made of whole pages",
                                           range.start.value, range.length));
  }
  if (range.start.value + range.length < range.start.value ||
      std::ranges::any_of(regions_, [&](Region const& other) { return other.range.overlaps(range); })) {
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
      std::ranges::upper_bound(regions_, range.start, {}, [](Region const& r) { return r.range.start; });
  regions_.insert(where, Region{range, static_cast<std::byte*>(host), kind, fd, 0});
  return {};
}

u64 GuestMemory::ram_bytes() const {
  auto total = u64{0};
  for (auto const& region : regions_) {
    if (region.kind == RegionKind::ram) total += region.range.length;
  }
  return total;
}

GuestMemory::Region const* GuestMemory::find(Gpa at) const {
  for (auto const& region : regions_) {
    if (region.range.contains(at)) return &region;
  }
  return nullptr;
}

std::byte* GuestMemory::host(Gpa at, u64 length, bool for_write) const {
  auto const* const region = find(at);
  if (region == nullptr || !region->range.contains(at, length)) return nullptr;
  if (for_write && region->kind != RegionKind::ram) return nullptr;
  return region->host + (at - region->range.start);
}

Result<> GuestMemory::read(Gpa at, Bytes into) const {
  if (!for_each_piece(*this, at, into.size(), [](auto const&, auto*, u64) { return true; })) {
    return fail(Errc::invalid, fmt::format("no memory at {:#x}+{:#x}", at.value, into.size()));
  }
  auto* to = into.data();
  for_each_piece(*this, at, into.size(), [&](auto const&, std::byte const* host, u64 length) {
    std::memcpy(to, host, length);
    to += length;
    return true;
  });
  return {};
}

Result<> GuestMemory::write(Gpa at, ConstBytes from) {
  auto const is_ram = [](Region const& region, auto*, u64) { return region.kind == RegionKind::ram; };
  if (!for_each_piece(*this, at, from.size(), is_ram)) {
    return fail(Errc::invalid, fmt::format("no writable memory at {:#x}+{:#x}", at.value, from.size()));
  }
  return load(at, from);
}

Result<> GuestMemory::load(Gpa at, ConstBytes from) {
  if (!for_each_piece(*this, at, from.size(), [](auto const&, auto*, u64) { return true; })) {
    return fail(Errc::invalid, fmt::format("no memory at {:#x}+{:#x}", at.value, from.size()));
  }
  auto const* source = from.data();
  for_each_piece(*this, at, from.size(), [&](auto const&, std::byte* host, u64 length) {
    std::memcpy(host, source, length);
    source += length;
    return true;
  });
  note_written(at, from.size());
  return {};
}

}  // namespace vireo::memory
