#pragma once

#include <condition_variable>
#include <memory>
#include <optional>

#include "bus/lines.h"
#include "engine/engine.h"
#include "machine/boot.h"
#include "machine/devices.h"
#include "machine/machine_executor.h"
#include "vocab/result.h"

namespace vireo::machine {

/// Why a machine ended.
enum class Ending : u8 { power_off, reset, quit };

/// One wired virtual machine: engine, devices and the boot media they start from.
class Machine final : private engine::MachineView, private bus::MachineControl {
 public:
  /// Opens everything that the configuration names; nothing runs yet. Errors name the key and the mend.
  static Result<std::unique_ptr<Machine>> create(MachineConfig const& config);
  ~Machine() override;

  /// Runs until the guest powers off, quit() is called or, unless the configuration reboots, the guest resets.
  Result<Ending> run();

  // Any thread.
  void quit();
  void reset();
  void press_power_button();
  device::SerialPort& console() { return devices_->console(); }
  device::SerialPort* virtio_console() { return devices_->virtio_console(); }
  /// Runs `f` as the machine's executor, for instance to reach the console.
  template <typename F>
  decltype(auto) with_executor(F&& f) {
    return executor_->with(std::forward<F>(f));
  }
  bus::Executor& executor() { return *executor_; }
  u64 instructions_interpreted() const { return engine_->instructions_interpreted(); }

 private:
  struct Wishes {
    bool quit{}, reset{}, power_off{};
    std::string failure;
    bool any() const { return quit || reset || power_off || !failure.empty(); }
  };

  explicit Machine(MachineConfig const& config) : config_{config} {}
  Result<> power_on();
  Result<> prepare();  // on the executor: reset, firmware tables, kernel, devices started
  void power_down();
  void wish(bool Wishes::* which);

  // engine::MachineView, called on vCPU threads
  memory::GuestMemory& memory() override { return memory_; }
  u64 read_mmio(Gpa at, u8 width) override;
  void write_mmio(Gpa at, u8 width, u64 value) override;
  u32 read_port(u16 port, u8 width) override;
  void write_port(u16 port, u8 width, u32 value) override;
  int acknowledge_pic() override;
  void broadcast_eoi(u8 vector) override;
  u64 now_ns() override { return executor_->now_ns(); }
  u64 wall_clock_ns() override;
  void request_reset(char const* reason) override;
  void report_failure(char const* reason) override;

  // bus::MachineControl, called on the executor
  void request_power_off() override { wish(&Wishes::power_off); }

  MachineConfig config_;
  memory::GuestMemory memory_;
  BootMedia media_;
  std::unique_ptr<MachineExecutor> executor_;
  std::unique_ptr<engine::Engine> engine_;
  std::unique_ptr<Devices> devices_;  // after the engine, which their interrupts reach
  std::mutex wishes_mutex_;
  std::condition_variable wished_;
  Wishes wishes_;
};

}  // namespace vireo::machine
