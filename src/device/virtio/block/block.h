#pragma once

#include "device/storage/disk_errors.h"
#include "device/virtio/block/spec.h"
#include "device/virtio/device.h"
#include "device/virtio/worker_pool.h"
#include "image/block_image.h"

namespace vireo::device::virtio {

struct BlockOptions {
  std::string serial;  // up to 20 bytes
  u16 queues{1};
  u16 queue_size{256};  // a power of two, at least 4
  u32 threads{2};
  std::shared_ptr<DiskErrors> errors{};  // null: all are reported
};

/// virtio-blk (5.2): the synchronous calls to the image run on workers of its own, straight on guest memory.
class Block final : public VirtioDevice {
 public:
  Block(std::shared_ptr<image::BlockImage> image, BlockOptions options);

  Description const& description() const override { return description_; }
  u64 features() const override;
  void read_config(u32 offset, Bytes into) const override { read_config_struct(config_, offset, into); }
  void write_config(u32, ConstBytes) override {}
  void attach(Transport& transport) override { transport_ = &transport; }
  void activate() override;
  void queue_notified(u16 index) override;
  void quiesce() override;
  void reset() override {
    kept_.with([](auto& kept) { kept.clear(); });
  }
  state::Saved save() const override;
  Result<> restore(state::Saved const& saved) override;

 private:
  struct SavedRequest {
    u64 sector{};
    u32 type{};
    u32 segments{};  // so many of kept_segments
    u16 queue{}, id{}, slots{}, reserved{};
  };
  struct SavedSegment {
    u64 at{};
    u32 length{};
    u32 writable{};
  };
  struct State {
    static constexpr std::string_view schema{"virtio-block"};
    u64 capacity{};  // the guest knows it: another disk cannot take over
    std::vector<SavedRequest> kept{};
    std::vector<SavedSegment> kept_segments{};
    static void fields(auto&& s, auto&& f) {
      f(1, "capacity", s.capacity);
      f(2, "kept", s.kept);
      f(3, "kept_segments", s.kept_segments);
    }
  };
  struct Request {
    u16 queue;
    Chain chain;
    spec::BlockRequestHeader header;
  };
  struct Finished {
    u16 queue;
    Completion completion;
  };

  void submit(u16 queue, Chain chain);
  void start(Request&& request);
  void execute(Request& request);
  void reap();
  Result<std::vector<Request>> rebuild(State const& state) const;

  // On a worker.
  spec::BlockStatus perform(Request const& request);
  spec::BlockStatus transfer(Request const& request, bool write);
  spec::BlockStatus for_each_range(Request const& request);
  spec::BlockStatus identify(Request const& request);
  bool in_range(u64 sector, u64 bytes) const;
  spec::BlockStatus status_of(Result<> const& result, std::string_view verb);

  std::shared_ptr<image::BlockImage> image_;
  BlockOptions options_;
  image::BlockImage::Geometry geometry_;
  Description description_;
  spec::BlockConfig config_{};
  Transport* transport_{nullptr};
  bool flush_each_write_{false};  // set while the workers rest
  Guarded<std::vector<Finished>, LockRank::queue> finished_;
  mutable Guarded<std::vector<Request>, LockRank::queue> kept_;  // until the machine goes on
  WorkerPool workers_;                                           // last: its threads use the rest
};

}  // namespace vireo::device::virtio
