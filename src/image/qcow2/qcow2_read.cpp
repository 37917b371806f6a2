#include <fmt/format.h>

#include <algorithm>

#include "image/check_range.h"
#include "image/qcow2/access.h"
#include "image/qcow2/qcow2_image.h"

namespace vireo::image::qcow2 {

using Kind = ClusterState::Kind;

Result<> Qcow2Image::read(u64 at, Bytes into) {
  TRY(check_range(storage_.path(), at, into.size(), bytes_));
  while (!into.empty()) {
    auto const done = TRY(read_some(at, into));
    into = into.subspan(done);
    at += done;
  }
  return {};
}

Result<ClusterState> Qcow2Image::part_state(u64 part) {
  auto const more = cluster_bits_ - part_bits_;
  auto const state = TRY(metadata_->state_of(part >> more));
  return state.part(part & ((u64{1} << more) - 1), part_bits_);
}

ConstBytes Qcow2Image::view(u64 at, u64 length) {
  if (storage_.writable() || encrypted_ || at >= bytes_) return {};
  auto const run = [&] {
    auto const lock = Lock{mutex_};
    return find_run(at, std::min(length, bytes_ - at));
  }();
  if (!run || run->state.kind != Kind::data) return {};
  return data().view(run->state.offset + (at & ((u64{1} << part_bits_) - 1)), run->length);
}

/// The stretch from `at` that is of one kind and, for data, lies in one piece. Called with the lock held.
Result<Qcow2Image::Run> Qcow2Image::find_run(u64 at, u64 length) {
  auto const first = at >> part_bits_;
  auto run = Run{.state = TRY(part_state(first)), .length = 0};
  auto end = (first + 1) << part_bits_;
  if (run.state.kind == Kind::compressed) end = align_down(at, cluster_) + cluster_;
  for (auto part = first + 1; end < at + length && run.state.kind != Kind::compressed; ++part) {
    auto const next = TRY(part_state(part));
    if (next.kind != run.state.kind || next.ours != run.state.ours) break;
    if (next.kind == Kind::data && next.offset != run.state.offset + ((part - first) << part_bits_)) break;
    end += u64{1} << part_bits_;
  }
  run.length = std::min(end - at, length);
  return run;
}

Result<BlockImage::Place> Qcow2Image::place_at(u64 at) {
  auto place = Place{.extent = TRY(extent_at(at))};
  if (place.extent.presence == Presence::absent) return place;
  auto const lock = Lock{mutex_};
  auto const run = TRY(find_run(at, place.extent.length));
  if (run.state.kind == Kind::data && !encrypted_) {
    place.offset = run.state.offset + (at & ((u64{1} << part_bits_) - 1));
    if (data_file_) place.file = data_file_->path();
  }
  if (run.state.kind == Kind::data || run.state.kind == Kind::compressed) place.extent.length = run.length;
  if (!place.offset) return place;
  auto const below = TRY(data().extent_at(*place.offset));
  place.hole = !below.data || below.length == 0;
  if (below.length != 0) place.extent.length = std::min(place.extent.length, below.length);
  return place;
}

Result<u64> Qcow2Image::read_some(u64 at, Bytes into) {
  auto lock = Lock{mutex_};
  auto const run = TRY(find_run(at, into.size()));
  auto const access = DataAccess{*metadata_, lock};
  auto const part = into.first(run.length);
  auto const within = at & ((u64{1} << part_bits_) - 1);
  switch (run.state.kind) {
    case Kind::zero: std::ranges::fill(part, std::byte{0}); break;
    case Kind::parts:
    case Kind::absent: TRY(read_backing(at, part)); break;
    case Kind::data: TRY(read_data(run.state.offset + within, part)); break;
    case Kind::compressed: TRY(read_compressed(run.state, at & (cluster_ - 1), part)); break;
  }
  return run.length;
}

Result<> Qcow2Image::read_backing(u64 at, Bytes into) {
  auto const there = at < backing_bytes_ ? std::min<u64>(into.size(), backing_bytes_ - at) : 0;
  if (there != 0) TRY(backing_->read(at, into.first(there)));
  std::ranges::fill(into.subspan(there), std::byte{0});
  return {};
}

Result<> Qcow2Image::read_compressed(ClusterState const& state, u64 within, Bytes into) {
  auto cluster = [&] {
    auto const lock = std::lock_guard{decompressed_mutex_};
    return decompressed_;
  }();
  if (!cluster || cluster->place != state.offset) {
    auto fresh = std::make_shared<Decompressed>(Decompressed{state.offset, std::vector<std::byte>(cluster_)});
    auto packed = std::vector<std::byte>(state.compressed.length);
    TRY(storage_.read(state.compressed.offset, packed));
    TRY_IN(fmt::format("{}: compressed cluster at offset {:#x}", storage_.path(), state.offset),
           decompress(compression_, packed, fresh->bytes));
    cluster = std::move(fresh);
    auto const lock = std::lock_guard{decompressed_mutex_};
    decompressed_ = cluster;
  }
  std::ranges::copy(ConstBytes{cluster->bytes}.subspan(within, into.size()), into.begin());
  return {};
}

}  // namespace vireo::image::qcow2
