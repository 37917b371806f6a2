#pragma once

#include <condition_variable>
#include <mutex>
#include <optional>

#include "image/block_image.h"
#include "image/luks/encrypted_storage.h"
#include "image/qcow2/bitmap_directory.h"
#include "image/qcow2/metadata.h"
#include "vocab/guarded.h"

namespace vireo::image::qcow2 {

/// A qcow2 disk. Guest data moves outside the lock; the lock covers the tables only. Metadata is written when a
/// flush asks for it, or when too much of it is dirty.
class Qcow2Image final : public BlockImage {
 public:
  static Result<std::unique_ptr<Qcow2Image>> open(Storage storage, Header const& header,
                                                  std::unique_ptr<BlockImage> backing,
                                                  std::optional<Storage> data_file = {},
                                                  std::optional<luks::Cipher> cipher = {});
  ~Qcow2Image() override;

  Geometry geometry() const override;
  Result<> read(u64 at, Bytes into) override;
  ConstBytes view(u64 at, u64 length) override;
  Result<> write(u64 at, ConstBytes from) override;
  Result<> write_zeroes(u64 at, u64 length, bool may_unmap) override;
  Result<> discard(u64 at, u64 length) override;
  Result<> flush() override;
  Result<Extent> extent_at(u64 at) override;
  Result<Place> place_at(u64 at) override;
  Result<> write_compressed(u64 at, ConstBytes from) override;
  DirtyBitmaps* dirty_bitmaps() override { return bitmaps_.get(); }

 private:
  using Lock = std::unique_lock<RankedMutex<LockRank::image>>;
  /// Clusters of the disk that can be read or written in one go.
  struct Run {
    ClusterState state;  // of the first part
    u64 length{};        // bytes from the offset asked for
  };

  Qcow2Image(Storage storage, std::unique_ptr<BlockImage> backing, u64 backing_bytes);

  Result<> check_write(u64 at, u64 length) const;
  Result<> finish_write();
  Result<> open_for_writing();
  Result<> close();

  /// Where the guest's data lies.
  Storage const& data() const { return data_file_ ? *data_file_ : storage_; }
  Result<> read_data(u64 place, Bytes into) const;
  Result<> write_data(u64 place, ConstBytes from) const;
  Result<> sync() const;
  Result<ClusterState> part_state(u64 part);
  Result<Run> find_run(u64 at, u64 length);
  Result<u64> read_some(u64 at, Bytes into);
  Result<> read_backing(u64 at, Bytes into);
  Result<> read_compressed(ClusterState const& state, u64 within, Bytes into);

  Result<u64> write_some(u64 at, ConstBytes from);
  bool goes_to_new_place(ClusterState const& state) const;
  Result<u64> write_to_new_place(Lock& lock, u64 at, ConstBytes from, ClusterState const& first);
  Result<u64> write_new_parts(Lock& lock, u64 at, ConstBytes from, ClusterState const& state);
  Result<> fill_new_place(u64 place, u64 start, u64 end, u64 at, ConstBytes from);
  u64 parts_between(u64 start, u64 end, u64 cluster) const;
  Result<bool> clear_cluster(Lock& lock, u64 cluster, bool may_unmap);
  Result<bool> clear_clusters(u64 first, u64 end, bool may_unmap);
  Result<> write_literal_zeroes(u64 at, u64 length);

  Result<bool> write_packed(u64 cluster, ConstBytes packed);
  Result<u64> place_for_packed(u64 bytes);

  Result<> write_metadata();
  Result<> make_room_in_caches();

  Storage storage_;
  std::optional<Storage> data_file_;
  bool encrypted_{};
  std::optional<luks::EncryptedStorage> cipher_;  // by places in the file; none: only the tables are used
  std::unique_ptr<BlockImage> backing_;
  u64 backing_bytes_{};
  u64 bytes_{};
  u64 cluster_{};  // bytes
  u32 cluster_bits_{};
  u32 part_bits_{};  // what has a state of its own: a cluster, or a 32nd of one
  bool raw_data_{};
  u32 version_{};
  Compression compression_{};
  bool grows_with_zeroes_{};  // a file, no device: behind its end lies no old data

  RankedMutex<LockRank::image> mutex_;  // covers metadata_
  std::condition_variable_any allocated_;
  u64 packed_end_{};  // behind the last packed cluster, if there is room in its cluster of the file
  std::optional<Metadata> metadata_;

  std::unique_ptr<FileBitmaps> bitmaps_;  // open for writing alone

  // One thread writes metadata at a time. Taken before mutex_, never inside it.
  std::mutex writing_metadata_;

  struct Decompressed {
    u64 place{};
    std::vector<std::byte> bytes;
  };
  std::mutex decompressed_mutex_;
  std::shared_ptr<Decompressed const> decompressed_;  // the last compressed cluster read
};

}  // namespace vireo::image::qcow2
