#pragma once

#include "device/chipset/serial_backend.h"
#include "device/virtio/device.h"

namespace vireo::device::virtio {

namespace spec {

enum ConsoleFeature : u32 {  // virtio 1.2, 5.3.3, bit numbers
  VIRTIO_CONSOLE_F_SIZE = 0,
  VIRTIO_CONSOLE_F_EMERG_WRITE = 2,
};

struct ConsoleConfig {  // 5.3.4
  u16 columns;
  u16 rows;
  u32 most_ports;
  u32 emergency_write;
};
static_assert(sizeof(ConsoleConfig) == 12);

}  // namespace spec

/// virtio-console (5.3) with one port, over the same byte backend as the serial ports.
class Console final : public VirtioDevice, public SerialPort {
 public:
  Console();

  /// Tells the driver how large the terminal is.
  void resize(u16 columns, u16 rows);

  // SerialPort
  u32 receive(ConstBytes bytes) override;
  void connect(SerialBackend* backend) override { backend_ = backend; }

  // VirtioDevice
  Description const& description() const override { return description_; }
  u64 features() const override;
  void read_config(u32 offset, Bytes into) const override;
  void write_config(u32 offset, ConstBytes from) override;
  void attach(Transport& transport) override { transport_ = &transport; }
  void activate() override;
  void queue_notified(u16 index) override;
  void quiesce() override { active_ = false; }
  void reset() override;
  state::Saved save() const override { return state::save(state_); }
  Result<> restore(state::Saved const& saved) override { return state::restore(saved, state_); }

 private:
  struct State {
    static constexpr std::string_view schema{"virtio-console"};
    u16 columns{80};
    u16 rows{25};
    static void fields(auto&& s, auto&& f) {
      f(1, "columns", s.columns);
      f(2, "rows", s.rows);
    }
  };
  void transmit_waiting();
  void offer_room();

  Description description_;
  Transport* transport_{nullptr};
  SerialBackend* backend_{nullptr};
  State state_;
  bool active_{false};
  bool starved_{false};  // the backend waits for receive_ready()
};

}  // namespace vireo::device::virtio
