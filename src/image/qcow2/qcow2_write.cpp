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
  if (run.state.kind == Kind::data && run.state.ours) {
    auto const access = DataAccess{*metadata_, lock};
    auto const within = at & ((u64{1} << part_bits_) - 1);
    TRY(write_data(run.state.offset + within, from.first(run.length)));
    return run.length;
  }
  auto const state = TRY(metadata_->state_of(cluster));
  return goes_to_new_place(state) ? write_to_new_place(lock, at, from, state)
                                  : write_new_parts(lock, at, from, state);
}

/// The whole cluster does; else it has a place of its own, which may lack some parts.
bool Qcow2Image::goes_to_new_place(ClusterState const& state) const {
  if (state.kind == Kind::parts) return !state.placed || !state.ours;
  return state.kind != Kind::data || !state.ours;
}

/// The bits of a cluster's parts that lie between, as in an L2 entry.
u64 Qcow2Image::parts_between(u64 start, u64 end, u64 cluster) const {
  if (part_bits_ == cluster_bits_) return 0;
  auto const base = cluster << cluster_bits_;
  auto const first = (std::max(start, base) - base) >> part_bits_;
  auto const last = (std::min(align_up(end, u64{1} << part_bits_), base + cluster_) - base) >> part_bits_;
  return first >= last ? 0 : (subclusters::all_present >> (32 - (last - first))) << first;
}

/// Parts of a cluster that has its place: written there first, then the table says so.
Result<u64> Qcow2Image::write_new_parts(Lock& lock, u64 at, ConstBytes from, ClusterState const& state) {
  auto const cluster = at >> cluster_bits_;
  auto const part = u64{1} << part_bits_;
  auto const start = align_down(at, part);
  auto end = start;
  while (end < std::min(at + from.size(), (cluster + 1) << cluster_bits_) &&
         state.part((end & (cluster_ - 1)) >> part_bits_, part_bits_).kind != Kind::data) {
    end += part;
  }
  auto const length = std::min(from.size(), end - at);
  metadata_->allocating.insert(cluster);
  auto const filled = [&] {
    auto const access = DataAccess{*metadata_, lock};
    return fill_new_place(state.offset + (start & (cluster_ - 1)), start, end, at, from.first(length));
  }();
  metadata_->allocating.erase(cluster);
  allocated_.notify_all();
  TRY(filled);
  auto const touched = parts_between(start, end, cluster);
  TRY(metadata_->move(cluster, state, state.offset | l2_entry::copied,
                      (state.parts | touched) & ~(touched << 32)));
  return length;
}

/// Writes at a place of its own, then points the disk there: a crash in between shows the old data.
Result<u64> Qcow2Image::write_to_new_place(Lock& lock, u64 at, ConstBytes from, ClusterState const& first) {
  auto const first_cluster = at >> cluster_bits_;
  auto const last_cluster = (at + from.size() - 1) >> cluster_bits_;
  auto const most = std::max<u64>(largest_new_place >> cluster_bits_, 1);
  auto old = std::vector<ClusterState>{first};
  while (old.size() < most && first_cluster + old.size() <= last_cluster) {
    auto const cluster = first_cluster + old.size();
    if (metadata_->allocating.contains(cluster)) break;
    auto const state = TRY(metadata_->state_of(cluster));
    if (!goes_to_new_place(state)) break;
    old.push_back(state);
  }
  auto const end_before = metadata_->refcounts.end_of_file();
  auto const place = data_file_ ? ClusterRun{first_cluster << cluster_bits_, old.size()}
                                : TRY(metadata_->refcounts.allocate(old.size()));
  old.resize(place.count);
  for (auto each = u64{0}; each < place.count; ++each) metadata_->allocating.insert(first_cluster + each);
  auto const virgin = grows_with_zeroes_ && !data_file_ && place.offset >= end_before;
  auto const zero_before = [&](ClusterState const& state, u64 cluster) {
    return state.kind == Kind::zero ||
           (state.kind == Kind::absent && cluster << cluster_bits_ >= backing_bytes_);
  };
  auto const zero_around = virgin && zero_before(old.front(), first_cluster) &&
                           zero_before(old.back(), first_cluster + old.size() - 1);
  auto const space_end = (first_cluster + place.count) << cluster_bits_;
  auto const length = std::min(from.size(), space_end - at);
  // Where nothing was present, parts that are not written stay what they are.
  auto const unit_of = [&](ClusterState const& state) {
    return state.kind == Kind::parts && !state.placed ? u64{1} << part_bits_ : cluster_;
  };
  auto const start = zero_around ? at : align_down(at, unit_of(old.front()));
  auto const end = zero_around ? at + length : align_up(at + length, unit_of(old.back()));
  auto const outcome = [&]() -> Result<> {
    auto const filled = [&] {
      auto const access = DataAccess{*metadata_, lock};
      auto const into = place.offset + (start - (first_cluster << cluster_bits_));
      return fill_new_place(into, start, end, at, from.first(length));
    }();
    if (!filled) {
      for (auto each = u64{0}; each < place.count && !data_file_; ++each) {
        TRY(metadata_->refcounts.release((place.offset >> cluster_bits_) + each));
      }
      return filled;
    }
    for (auto each = u64{0}; each < place.count; ++each) {
      auto const offset = place.offset + (each << cluster_bits_);
      auto const touched = parts_between(start, end, first_cluster + each);
      auto const still_zero = old[each].parts & subclusters::all_zero & ~(touched << 32);
      TRY(metadata_->move(first_cluster + each, old[each], offset | l2_entry::copied, touched | still_zero));
    }
    return {};
  }();
  for (auto each = u64{0}; each < place.count; ++each) metadata_->allocating.erase(first_cluster + each);
  allocated_.notify_all();
  TRY(outcome);
  return length;
}

/// Brings `start` to `end` of the disk to `place`: what is written, and around it what was there.
Result<> Qcow2Image::fill_new_place(u64 place, u64 start, u64 end, u64 at, ConstBytes from) {
  if (data_file_) end = std::min(end, bytes_);  // it is as long as the disk
  if (start == at && end == at + from.size()) return write_data(place, from);
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
  return write_data(place, bytes);
}

Result<> Qcow2Image::write_zeroes(u64 at, u64 length, bool may_unmap) {
  TRY(check_write(at, length));
  auto const record = TRY(RecordedChange::begin(*bitmaps_, at, length));
  if (raw_data_ && !encrypted_) {
    TRY(data().write_zeroes(at, length, may_unmap));
    return finish_write();
  }
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
  if (raw_data_ && !encrypted_) return data().write_zeroes(at, length, true);
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
  auto const keeps_place = !may_unmap && state.placed && state.kind != Kind::compressed && state.ours;
  if (version_ < 3 && (needs_flag || keeps_place)) return false;
  auto const extended = part_bits_ != cluster_bits_;
  auto const nothing_there = state.kind == Kind::absent || (state.kind == Kind::parts && state.parts == 0);
  auto const all_zero = state.kind == Kind::zero || state.parts == subclusters::all_zero;
  if (nothing_there && !state.placed && !needs_flag) return true;
  if (all_zero && (keeps_place || !state.placed)) return true;
  auto const place = keeps_place ? state.offset | l2_entry::copied : u64{0};
  auto const zero = keeps_place || needs_flag;
  TRY(metadata_->move(cluster, state, zero && !extended ? place | l2_entry::zero : place,
                      zero && extended ? subclusters::all_zero : u64{0}));
  if (!data_file_ || !state.placed || keeps_place) return true;
  auto const start = cluster << cluster_bits_;
  TRY(data().discard(start, std::min(cluster_, bytes_ - start)));
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
