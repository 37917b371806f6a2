#include <fmt/format.h>

#include <algorithm>

#include "image/check_range.h"
#include "image/qcow2/access.h"
#include "image/qcow2/qcow2_image.h"

namespace vireo::image::qcow2 {
namespace {

using Kind = ClusterState::Kind;
constexpr u64 largest_new_place{2 * MiB};
constexpr u64 clusters_per_lock{1024};

}  // namespace

Result<> Qcow2Image::write(u64 at, ConstBytes from) {
  TRY(check_write(at, from.size()));
  auto const record = TRY(RecordedChange::begin(*bitmaps_, at, from.size()));
  TRY(make_room_in_caches());
  while (!from.empty()) {
    auto const done = TRY(write_some(at, from));
    from = from.subspan(done);
    at += done;
  }
  return finish_write();
}

Result<u64> Qcow2Image::write_some(u64 at, ConstBytes from) {
  auto lock = Lock{mutex_};
  auto const cluster = at >> cluster_bits_;
  allocated_.wait(lock, [&] { return !metadata_->allocating.contains(cluster); });
  auto const run = TRY(find_run(at, from.size()));
  if (run.state.kind != Kind::data || !run.state.ours) return write_to_new_place(lock, at, from, run.state);
  auto const access = DataAccess{*metadata_, lock};
  TRY(storage_.write(run.state.offset + (at & (cluster_ - 1)), from.first(run.length)));
  return run.length;
}

/// Writes whole clusters at a place of their own, then points the disk there: a crash in between shows the old
/// data.
Result<u64> Qcow2Image::write_to_new_place(Lock& lock, u64 at, ConstBytes from, ClusterState const& first) {
  auto const first_cluster = at >> cluster_bits_;
  auto const last_cluster = (at + from.size() - 1) >> cluster_bits_;
  auto const most = std::max<u64>(largest_new_place >> cluster_bits_, 1);
  auto old = std::vector<ClusterState>{first};
  while (old.size() < most && first_cluster + old.size() <= last_cluster) {
    auto const cluster = first_cluster + old.size();
    if (metadata_->allocating.contains(cluster)) break;
    auto const state = TRY(metadata_->state_of(cluster));
    if (state.kind == Kind::data && state.ours) break;
    old.push_back(state);
  }
  auto const end_before = metadata_->refcounts.end_of_file();
  auto const place = TRY(metadata_->refcounts.allocate(old.size()));
  old.resize(place.count);
  for (auto each = u64{0}; each < place.count; ++each) metadata_->allocating.insert(first_cluster + each);
  auto const virgin = grows_with_zeroes_ && place.offset >= end_before;
  auto const zero_before = [&](ClusterState const& state, u64 cluster) {
    return state.kind == Kind::zero ||
           (state.kind == Kind::absent && cluster << cluster_bits_ >= backing_bytes_);
  };
  auto const zero_around = virgin && zero_before(old.front(), first_cluster) &&
                           zero_before(old.back(), first_cluster + old.size() - 1);

  auto const length = std::min(from.size(), ((first_cluster + place.count) << cluster_bits_) - at);
  auto const outcome = [&]() -> Result<> {
    auto const filled = [&] {
      auto const access = DataAccess{*metadata_, lock};
      return fill_new_place(place, at, from.first(length), zero_around);
    }();
    if (!filled) {
      for (auto each = u64{0}; each < place.count; ++each) {
        TRY(metadata_->refcounts.release((place.offset >> cluster_bits_) + each));
      }
      return filled;
    }
    for (auto each = u64{0}; each < place.count; ++each) {
      auto const offset = place.offset + (each << cluster_bits_);
      TRY(metadata_->move(first_cluster + each, old[each], offset | l2_entry::copied));
    }
    return {};
  }();
  for (auto each = u64{0}; each < place.count; ++each) metadata_->allocating.erase(first_cluster + each);
  allocated_.notify_all();
  TRY(outcome);
  return length;
}

Result<> Qcow2Image::fill_new_place(ClusterRun place, u64 at, ConstBytes from, bool zero_around) {
  auto const start = align_down(at, cluster_);
  auto const end = start + (place.count << cluster_bits_);
  auto const whole = start == at && end == at + from.size();
  if (whole || zero_around) return storage_.write(place.offset + (at - start), from);
  auto bytes = std::vector<std::byte>(end - start);
  auto const read_old = [&](u64 from_here, u64 to_there) -> Result<> {
    while (from_here < std::min(to_there, bytes_)) {
      auto const part = Bytes{bytes}.subspan(from_here - start, std::min(to_there, bytes_) - from_here);
      from_here += TRY(read_some(from_here, part));
    }
    return {};
  };
  TRY(read_old(start, at));
  TRY(read_old(at + from.size(), end));
  std::ranges::copy(from, bytes.begin() + static_cast<std::ptrdiff_t>(at - start));
  return storage_.write(place.offset, bytes);
}

Result<> Qcow2Image::write_zeroes(u64 at, u64 length, bool may_unmap) {
  TRY(check_write(at, length));
  auto const record = TRY(RecordedChange::begin(*bitmaps_, at, length));
  auto const end = at + length;
  auto const first_whole = align_up(at, cluster_);
  // The last cluster of the disk may reach over its end.
  auto const whole_end = end == bytes_ ? align_up(end, cluster_) : align_down(end, cluster_);
  if (first_whole >= whole_end) {
    TRY(write_literal_zeroes(at, length));
    return finish_write();
  }
  TRY(write_literal_zeroes(at, first_whole - at));
  if (!TRY(clear_clusters(first_whole >> cluster_bits_, whole_end >> cluster_bits_, may_unmap))) {
    TRY(write_literal_zeroes(first_whole, std::min(whole_end, end) - first_whole));
  }
  if (whole_end < end) TRY(write_literal_zeroes(whole_end, end - whole_end));
  return finish_write();
}

Result<> Qcow2Image::discard(u64 at, u64 length) {
  TRY(check_write(at, length));
  auto const record = TRY(RecordedChange::begin(*bitmaps_, at, length));
  auto const end = at + length == bytes_ ? align_up(bytes_, cluster_) : align_down(at + length, cluster_);
  auto const start = align_up(at, cluster_);
  if (start >= end) return {};
  static_cast<void>(TRY(clear_clusters(start >> cluster_bits_, end >> cluster_bits_, true)));
  return {};
}

/// False when this version of the format cannot say "zero" for one of them (version 2 over a backing file).
Result<bool> Qcow2Image::clear_clusters(u64 first, u64 end, bool may_unmap) {
  while (first < end) {
    TRY(make_room_in_caches());
    auto lock = Lock{mutex_};
    for (auto const batch_end = std::min(end, first + clusters_per_lock); first < batch_end;) {
      auto const absent = first << cluster_bits_ >= backing_bytes_ ? metadata_->mapping.absent_run(first) : 0;
      if (absent == 0 && !TRY(clear_cluster(lock, first, may_unmap))) return false;
      first += std::max<u64>(absent, 1);
    }
  }
  return true;
}

Result<bool> Qcow2Image::clear_cluster(Lock& lock, u64 cluster, bool may_unmap) {
  allocated_.wait(lock, [&] { return !metadata_->allocating.contains(cluster); });
  auto const state = TRY(metadata_->state_of(cluster));
  auto const needs_flag = cluster << cluster_bits_ < backing_bytes_;
  auto const keeps_place = !may_unmap && state.offset != 0 && state.kind != Kind::compressed && state.ours;
  if (version_ < 3 && (needs_flag || keeps_place)) return false;
  if (state.kind == Kind::absent && !needs_flag) return true;
  if (state.kind == Kind::zero && (keeps_place || state.offset == 0)) return true;
  auto const entry = keeps_place  ? state.offset | l2_entry::copied | l2_entry::zero
                     : needs_flag ? l2_entry::zero
                                  : u64{0};
  TRY(metadata_->move(cluster, state, entry));
  return true;
}

Result<> Qcow2Image::write_literal_zeroes(u64 at, u64 length) {
  static auto const zeroes = std::vector<std::byte>(largest_new_place);
  TRY(make_room_in_caches());
  while (length != 0) {
    auto const done = TRY(write_some(at, ConstBytes{zeroes}.first(std::min<u64>(length, zeroes.size()))));
    at += done;
    length -= done;
  }
  return {};
}

}  // namespace vireo::image::qcow2
