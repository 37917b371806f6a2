#include "image/qcow2/access.h"
#include "image/qcow2/qcow2_image.h"
#include "vocab/numbers.h"

namespace vireo::image::qcow2 {

using Kind = ClusterState::Kind;

/// Packing is done without the lock, by as many threads as call. What does not get smaller is written as it is.
Result<> Qcow2Image::write_compressed(u64 at, ConstBytes from) {
  TRY(check_write(at, from.size()));
  auto const record = TRY(RecordedChange::begin(*bitmaps_, at, from.size()));
  auto whole = std::vector<std::byte>{};
  while (!from.empty()) {
    auto const part = from.first(std::min<u64>(from.size(), cluster_ - at % cluster_));
    auto const last = at + part.size() == bytes_;
    auto packed = std::vector<std::byte>{};
    if (!data_file_ && !encrypted_ && at % cluster_ == 0 && (part.size() == cluster_ || last)) {
      whole.assign(cluster_, std::byte{0});
      std::ranges::copy(part, whole.begin());
      packed = TRY(compress(compression_, whole));
    }
    TRY(make_room_in_caches());
    if (packed.empty() || !TRY(write_packed(at >> cluster_bits_, packed))) TRY(write(at, part));
    from = from.subspan(part.size());
    at += part.size();
  }
  return finish_write();
}

/// Packed clusters lie one behind the other, over the borders of the file's clusters where these follow.
Result<u64> Qcow2Image::place_for_packed(u64 bytes) {
  auto& refcounts = metadata_->refcounts;
  auto const room = packed_end_ % cluster_ == 0 ? 0 : cluster_ - packed_end_ % cluster_;
  if (bytes <= room) {
    TRY(refcounts.share(packed_end_ >> cluster_bits_));
    return packed_end_;
  }
  auto const fresh = TRY(refcounts.allocate(1)).offset;
  if (room == 0 || fresh != packed_end_ + room) return fresh;
  TRY(refcounts.share(packed_end_ >> cluster_bits_));
  return packed_end_;
}

/// False: it is taken; written the ordinary way it waits for others and finds its place.
Result<bool> Qcow2Image::write_packed(u64 cluster, ConstBytes packed) {
  auto lock = Lock{mutex_};
  allocated_.wait(lock, [&] { return !metadata_->allocating.contains(cluster); });
  auto const state = TRY(metadata_->state_of(cluster));
  auto const place = TRY(place_for_packed(packed.size()));
  packed_end_ = place + packed.size();
  metadata_->allocating.insert(cluster);
  auto const written = [&] {
    auto const access = DataAccess{*metadata_, lock};
    return storage_.write(place, packed);
  }();
  metadata_->allocating.erase(cluster);
  allocated_.notify_all();
  TRY(written);
  TRY(metadata_->move(cluster, state, compressed_entry(place, packed.size(), cluster_bits_)));
  return true;
}

}  // namespace vireo::image::qcow2
