#pragma once

#include "device/virtio/device.h"

namespace vireo::device::virtio {

/// virtio-entropy (5.4): random bytes of the host's kernel, a page a request at most.
class Rng final : public VirtioDevice {
 public:
  static constexpr u32 most_bytes{4096};

  Description const& description() const override { return description_; }
  u64 features() const override { return 0; }
  void read_config(u32, Bytes into) const override { std::memset(into.data(), 0, into.size()); }
  void write_config(u32, ConstBytes) override {}
  void attach(Transport& transport) override { transport_ = &transport; }
  void activate() override { queue_notified(0); }
  void queue_notified(u16 index) override;
  void quiesce() override {}
  void reset() override {}
  state::Saved save() const override { return state::save(State{}); }
  Result<> restore(state::Saved const& saved) override;

 private:
  struct State {
    static constexpr std::string_view schema{"virtio-rng"};
    static void fields(auto&&, auto&&) {}
  };

  Description description_{
      .id = DeviceId::entropy, .class_code = 0x00ff00, .name = "virtio-rng", .queue_sizes = {16}};
  Transport* transport_{nullptr};
};

}  // namespace vireo::device::virtio
