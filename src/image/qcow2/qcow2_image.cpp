#include "image/qcow2/qcow2_image.h"

#include <fmt/format.h>

#include <algorithm>

#include "image/check_range.h"
#include "observe/log.h"

namespace vireo::image::qcow2 {

Qcow2Image::Qcow2Image(Storage storage, std::unique_ptr<BlockImage> backing, u64 backing_bytes)
    : storage_{std::move(storage)}, backing_{std::move(backing)}, backing_bytes_{backing_bytes} {}

Result<std::unique_ptr<Qcow2Image>> Qcow2Image::open(Storage storage, Header const& header,
                                                     std::unique_ptr<BlockImage> backing,
                                                     std::optional<Storage> data_file,
                                                     std::optional<luks::Cipher> cipher) {
  auto const backing_bytes = backing ? backing->geometry().bytes : 0;
  auto image =
      std::unique_ptr<Qcow2Image>{new Qcow2Image{std::move(storage), std::move(backing), backing_bytes}};
  image->bytes_ = header.size;
  image->cluster_ = header.cluster_size();
  image->cluster_bits_ = header.cluster_bits;
  image->part_bits_ = header.part_bits();
  image->raw_data_ = header.raw_data();
  image->data_file_ = std::move(data_file);
  image->encrypted_ = header.encrypted;
  if (cipher) image->cipher_.emplace(*std::move(cipher), 0);
  image->version_ = header.version;
  image->compression_ = header.compression;
  auto metadata = Metadata::open(image->storage_, header);
  if (!metadata) return std::unexpected{std::move(metadata).error()};
  image->metadata_.emplace(*std::move(metadata));
  if (image->storage_.writable()) TRY(image->open_for_writing());
  return image;
}

Result<> Qcow2Image::open_for_writing() {
  auto& header = metadata_->header;
  if ((header.incompatible_features & (incompatible::dirty | incompatible::corrupt)) != 0) {
    return fail(Errc::corrupt,
                fmt::format("{}: qcow2: marked {}; open it read-only or run \"qemu-img check -r all\" on it",
                            storage_.path(),
                            (header.incompatible_features & incompatible::corrupt) != 0 ? "corrupt" : "dirty"));
  }
  TRY(clear_unknown_autoclear(storage_, header));
  bitmaps_ = TRY(FileBitmaps::open(storage_, header));
  grows_with_zeroes_ = !encrypted_ && storage_.can_grow();
  return {};
}

Qcow2Image::~Qcow2Image() {
  if (!storage_.writable() || !metadata_) return;
  if (auto const closed = close(); !closed) {
    observe::log(observe::Level::error, "qcow2", "closing: {}", closed.error().what());
  }
}

Result<> Qcow2Image::close() {
  auto const one_at_a_time = std::lock_guard{writing_metadata_};
  // The second round writes the refcounts that the first made free, the third finds nothing as a rule.
  for (auto round = 0; round < 3 && metadata_->anything_to_write(); ++round) TRY(write_metadata());
  TRY(sync());
  metadata_.reset();
  return bitmaps_ ? bitmaps_->save() : Result<>{};
}

Result<> Qcow2Image::read_data(u64 place, Bytes into) const {
  if (!encrypted_) return data().read(place, into);
  if (cipher_) return cipher_->read(data(), place, into);
  return fail(Errc::denied,
              fmt::format("{}: is encrypted, and was opened without its passphrase", storage_.path()));
}

Result<> Qcow2Image::write_data(u64 place, ConstBytes from) const {
  return cipher_ ? cipher_->write(data(), place, from) : data().write(place, from);
}

Result<> Qcow2Image::sync() const {
  if (data_file_) TRY(data_file_->sync());
  return storage_.sync();
}

BlockImage::Geometry Qcow2Image::geometry() const {
  return {
      .bytes = bytes_, .sector = 512, .cluster = static_cast<u32>(cluster_), .read_only = !storage_.writable()};
}

Result<> Qcow2Image::check_write(u64 at, u64 length) const { return storage_.check_write(at, length, bytes_); }

Result<> Qcow2Image::finish_write() { return syncs_each_write(storage_.cache()) ? flush() : Result<>{}; }

Result<> Qcow2Image::flush() {
  if (!storage_.writable()) return {};
  // First of all: a thread that took the tables may still be writing them.
  auto const one_at_a_time = std::lock_guard{writing_metadata_};
  auto const tables_too = [&] {
    auto const lock = Lock{mutex_};
    return metadata_->anything_to_write();
  }();
  return tables_too ? write_metadata() : sync();
}

Result<> Qcow2Image::make_room_in_caches() {
  auto const crowded = [&] {
    auto const lock = Lock{mutex_};
    return metadata_->crowded();
  }();
  if (!crowded) return {};
  auto const one_at_a_time = std::lock_guard{writing_metadata_};
  return write_metadata();
}

/// With writing_metadata_ held.
Result<> Qcow2Image::write_metadata() {
  auto const writes = [&] {
    auto const lock = Lock{mutex_};
    return metadata_->take_dirty();
  }();
  auto outcome = data_file_ ? data_file_->sync() : Result<>{};
  if (outcome) outcome = write_in_order(storage_, writes);
  auto const freed = TRY([&] {
    auto const lock = Lock{mutex_};
    return metadata_->written(writes, outcome.has_value());
  }());
  TRY(outcome);
  for (auto index = std::size_t{0}; index < freed.size();) {
    auto end = index + 1;
    while (end < freed.size() && freed[end].sole && freed[end].cluster == freed[end - 1].cluster + 1) ++end;
    if (freed[index].sole) {
      TRY(storage_.discard(freed[index].cluster << cluster_bits_, (end - index) << cluster_bits_));
      index = end;
    } else {
      ++index;
    }
  }
  auto const lock = Lock{mutex_};
  for (auto const& each : freed) {
    if (each.cluster == packed_end_ >> cluster_bits_) packed_end_ = 0;
  }
  return metadata_->free(freed);
}

Result<BlockImage::Extent> Qcow2Image::extent_at(u64 at) {
  TRY(check_range(storage_.path(), at, 1, bytes_));
  auto const lock = Lock{mutex_};
  auto const presence_of = [&](ClusterState const& state, u64 start) {
    if (state.kind == ClusterState::Kind::zero) return Presence::zero;
    if (state.kind != ClusterState::Kind::absent) return Presence::data;
    return start >= backing_bytes_ ? Presence::zero : Presence::absent;
  };
  auto const first = at >> part_bits_;
  auto const last = (bytes_ - 1) >> part_bits_;
  auto const cluster_parts = u64{1} << (cluster_bits_ - part_bits_);
  auto const presence = presence_of(TRY(part_state(first)), first << part_bits_);
  auto part = first;
  for (auto looked_at = 0; part <= last && looked_at < 65536; ++looked_at) {
    if (presence_of(TRY(part_state(part)), part << part_bits_) != presence) break;
    auto const absent = presence == Presence::zero && backing_bytes_ != 0
                            ? 0
                            : metadata_->mapping.absent_run(part / cluster_parts);
    part += absent == 0 ? 1 : absent * cluster_parts - part % cluster_parts;
  }
  auto end = std::min(part << part_bits_, bytes_);
  // The layer below may end inside a table-less stretch: behind its end there are zeroes.
  if (presence == Presence::absent) end = std::min(end, align_up(backing_bytes_, cluster_));
  return Extent{at, end - at, presence};
}

}  // namespace vireo::image::qcow2
