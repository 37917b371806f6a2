#pragma once

#include <array>
#include <deque>

#include "device/virtio/device.h"
#include "device/virtio/net/spec.h"
#include "net/port.h"
#include "vocab/guarded.h"

namespace vireo::device::virtio {

using MacAddress = std::array<u8, 6>;

struct NetOptions {
  MacAddress mac{};
  u16 queue_size{256};
};

/// virtio-net (5.1) on a net::Port. Frames from the port wait in a bounded inbox until the driver has buffers;
/// a full inbox pushes back on the port. Checksums and TCP segmentation are done here, at the host's speed.
class Net final : public VirtioDevice {
 public:
  struct Counters {
    u64 sent{}, received{}, refused{};  // refused: frames that cannot be, or that no buffer of the driver holds
  };

  Net(std::shared_ptr<net::Port> port, NetOptions options);
  ~Net() override { port_->set_receiver(nullptr); }

  Description const& description() const override { return description_; }
  u64 features() const override;
  void read_config(u32 offset, Bytes into) const override;
  void write_config(u32, ConstBytes) override {}
  void attach(Transport& transport) override { transport_ = &transport; }
  void activate() override;
  void queue_notified(u16 index) override;
  void quiesce() override;
  void reset() override;
  state::Saved save() const override { return state::save(state_); }
  Result<> restore(state::Saved const& saved) override { return state::restore(saved, state_); }
  Counters const& counters() const { return counters_; }

 private:
  struct State {
    static constexpr std::string_view schema{"virtio-net"};
    MacAddress mac{};
    static void fields(auto&& s, auto&& f) { f(1, "mac", s.mac); }
  };
  struct Inbox {
    std::deque<std::vector<std::byte>> frames;
    bool posted{};   // a delivery is on its way to the executor
    bool refused{};  // the port waits for resume()
  };
  enum class Delivery : u8 { done, no_buffers, hopeless };  // hopeless: larger than all buffers together

  bool enqueue(ConstBytes frame);  // the port's thread
  void transmit_waiting();
  void transmit(Chain const& chain);
  void receive_waiting();
  Delivery deliver(ConstBytes frame);
  Result<Delivery> take_buffers(u64 bytes, std::vector<Chain>& chains);

  std::shared_ptr<net::Port> port_;
  NetOptions options_;
  Description description_;
  Transport* transport_{nullptr};
  State state_;
  Counters counters_;
  std::vector<std::byte> frame_;  // the one being sent
  Guarded<Inbox, LockRank::queue> inbox_;
};

}  // namespace vireo::device::virtio
