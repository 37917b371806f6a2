#include "device/virtio/queue/chain.h"

#include <fmt/format.h>

#include <algorithm>

namespace vireo::device::virtio {
namespace {

/// Visits the pieces of [offset, offset + length); returns the bytes visited.
template <typename Visit>
u64 for_each_piece(std::span<Segment const> segments, u64 offset, u64 length, Visit&& visit) {
  auto done = u64{0};
  for (auto const& segment : segments) {
    if (done == length) break;
    if (offset >= segment.host.size()) {
      offset -= segment.host.size();
      continue;
    }
    auto const piece = std::min<u64>(segment.host.size() - offset, length - done);
    visit(Segment{segment.at + offset, segment.host.subspan(offset, piece)}, done);
    done += piece;
    offset = 0;
  }
  return done;
}

void append(std::vector<Segment>& segments, Segment piece) {
  if (!segments.empty()) {
    auto& last = segments.back();
    if (last.host.data() + last.host.size() == piece.host.data() && last.at + last.host.size() == piece.at) {
      last.host = Bytes{last.host.data(), last.host.size() + piece.host.size()};
      return;
    }
  }
  segments.push_back(piece);
}

}  // namespace

u64 gather(std::span<Segment const> segments, u64 offset, Bytes into) {
  return for_each_piece(segments, offset, into.size(), [&](Segment piece, u64 done) {
    std::memcpy(into.data() + done, piece.host.data(), piece.host.size());
  });
}

u64 scatter(std::span<Segment const> segments, u64 offset, ConstBytes from) {
  return for_each_piece(segments, offset, from.size(), [&](Segment piece, u64 done) {
    std::memcpy(piece.host.data(), from.data() + done, piece.host.size());
  });
}

std::vector<Segment> slice(std::span<Segment const> segments, u64 offset, u64 length) {
  auto result = std::vector<Segment>{};
  for_each_piece(segments, offset, length, [&](Segment piece, u64) { append(result, piece); });
  return result;
}

Result<> ChainBuilder::add(u64 address, u32 length, bool writable) {
  if (++descriptors_ > maximum_descriptors) return fail(Errc::corrupt, "descriptor chain is too long");
  if (length == 0) return fail(Errc::corrupt, "descriptor of zero length");
  if (address + length < address) return fail(Errc::corrupt, "descriptor wraps around the address space");
  if (!writable && !chain_.writable.empty()) {
    return fail(Errc::corrupt, "device-readable descriptor after a device-writable one");
  }
  auto& total = writable ? chain_.writable_bytes : chain_.readable_bytes;
  if (total + length < total) return fail(Errc::corrupt, "descriptor chain of 4 GiB or more");
  total += length;
  auto& segments = writable ? chain_.writable : chain_.readable;
  for (auto at = Gpa{address}; length > 0;) {
    auto const region = memory_.find(at);
    if (!region || (writable && region->kind != memory::RegionKind::ram)) {
      return fail(Errc::corrupt, fmt::format("descriptor outside of memory, at {:#x}", at.value));
    }
    auto const offset = at - region->range.start;
    auto const piece = static_cast<u32>(std::min<u64>(length, region->range.length - offset));
    segments.push_back({at, Bytes{region->host + offset, piece}});
    at = at + piece;
    length -= piece;
  }
  return {};
}

Chain ChainBuilder::take(u16 id, u16 slots) && {
  chain_.id = id;
  chain_.slots = slots;
  return std::move(chain_);
}

}  // namespace vireo::device::virtio
