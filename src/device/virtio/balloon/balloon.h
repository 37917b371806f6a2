#pragma once

#include <array>
#include <optional>

#include "device/virtio/balloon/spec.h"
#include "device/virtio/device.h"

namespace vireo::device::virtio {

/// virtio-balloon (5.5): pages that the driver puts into the balloon, or reports as free, go back to the host.
class Balloon final : public VirtioDevice {
 public:
  using Statistics = std::array<std::optional<u64>, 10>;  // by spec::BalloonStatistic

  explicit Balloon(memory::GuestMemory& memory);

  /// Asks the driver to give `bytes` to the host; it follows as far as it can.
  void set_target(u64 bytes);
  /// What the driver says it has given.
  u64 given_bytes() const { return u64{state_.actual} * page_size; }
  /// What was handed back to the host so far, inflated and reported.
  u64 returned_bytes() const { return returned_bytes_; }
  /// Asks for new statistics; they come when the driver answers.
  void request_statistics();
  Statistics const& statistics() const { return statistics_; }

  Description const& description() const override { return description_; }
  u64 features() const override;
  void read_config(u32 offset, Bytes into) const override;
  void write_config(u32 offset, ConstBytes from) override;
  void attach(Transport& transport) override { transport_ = &transport; }
  void activate() override;
  void queue_notified(u16 index) override;
  void quiesce() override;
  void reset() override;
  state::Saved save() const override { return state::save(state_); }
  Result<> restore(state::Saved const& saved) override { return state::restore(saved, state_); }

 private:
  struct State {
    static constexpr std::string_view schema{"virtio-balloon"};
    u32 num_pages{};
    u32 actual{};
    u32 poison_value{};
    static void fields(auto&& s, auto&& f) {
      f(1, "num_pages", s.num_pages);
      f(2, "actual", s.actual);
      f(3, "poison_value", s.poison_value);
    }
  };

  void inflate(Chain const& chain);
  void take_statistics(Chain&& chain);
  void report(Chain const& chain);
  void give_back(Gpa at, u64 bytes);

  memory::GuestMemory& memory_;
  Description description_;
  Transport* transport_{nullptr};
  State state_;
  u64 returned_bytes_{0};
  Statistics statistics_{};
  std::optional<Chain> statistics_buffer_;  // ours until statistics are wanted
};

}  // namespace vireo::device::virtio
