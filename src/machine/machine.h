#pragma once

#include <array>
#include <condition_variable>
#include <memory>
#include <optional>
#include <string>
#include <string_view>

#include "bus/lines.h"
#include "engine/engine.h"
#include "image/jobs/job_table.h"
#include "machine/boot.h"
#include "machine/control/event_log.h"
#include "machine/devices.h"
#include "machine/machine_executor.h"
#include "vocab/result.h"

namespace vireo::machine {

/// Why a machine ended.
enum class Ending : u8 { power_off, reset, quit };

enum class Condition : u8 { starting, running, paused, ended };
std::string_view name_of(Ending ending);
std::string_view name_of(Condition condition);
struct Standing {
  Condition condition{};
  std::string reason;  // why it is paused
};

/// One wired virtual machine: engine, devices and the boot media they start from.
class Machine final : private engine::MachineView, private bus::MachineControl, private bus::MemoryWindows {
 public:
  /// Opens everything that the configuration names; nothing runs yet. Errors name the key and the mend.
  static Result<std::unique_ptr<Machine>> create(MachineConfig const& config);
  ~Machine() override;

  /// Runs until the guest powers off, quit() is called or, unless the configuration reboots, the guest resets.
  Result<Ending> run();

  // Any thread.
  Standing standing() const;
  /// Stops vCPUs, devices and the machine's clock; on return nothing of the guest moves. A machine that is
  /// paused already keeps its reason. Errc::gone: it has ended, or does so meanwhile.
  Result<> pause(std::string reason);
  /// On return the machine runs, or is paused anew.
  Result<> resume();
  void quit();
  void reset();
  void press_power_button();
  MachineConfig const& config() const { return config_; }
  EventLog& events() { return events_; }
  std::vector<MachineDisk> const& disks() const { return devices_->disks(); }
  /// Null: it has none. Used through with_executor().
  display::Screen* screen() { return devices_->screen(); }
  /// Scan codes of set 1, to be called by with_executor(); false: the guest takes them later, or not at all.
  bool type(std::span<u8 const> scan_codes) { return devices_->type(scan_codes); }
  image::JobTable& jobs() { return jobs_; }
  /// Of the host, since create().
  u64 uptime_ns() const;
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
    bool quit{}, reset{}, power_off{}, resume{};
    std::optional<std::string> pause;
    std::string failure;
    bool any() const { return quit || reset || power_off || resume || pause || !failure.empty(); }
  };

  explicit Machine(MachineConfig const& config);
  Result<Ending> live();
  Result<> prepare();  // reset, firmware tables, kernel
  void go_on();
  void halt();
  Wishes next_wishes();
  void stand(Standing standing);
  template <typename F>
  void wish(F&& change);
  void wish_pause(std::string reason);
  void note_job(image::JobInfo const& job);

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

  // bus::MemoryWindows
  void set(bus::WindowLayer layer, std::vector<memory::GuestMemory::Window> windows) override;

  // bus::MachineControl
  void request_power_off() override;
  void request_pause(std::string reason) override;
  void request_failure(std::string reason) override;

  MachineConfig config_;
  u64 created_ns_;
  EventLog events_;
  memory::GuestMemory memory_;
  std::array<std::vector<memory::GuestMemory::Window>, static_cast<std::size_t>(bus::WindowLayer::count)>
      windows_;
  BootMedia media_;
  std::unique_ptr<MachineExecutor> executor_;
  std::unique_ptr<engine::Engine> engine_;
  std::unique_ptr<Devices> devices_;  // after the engine, which their interrupts reach
  image::JobTable jobs_;              // on the devices' disks
  mutable std::mutex life_mutex_;     // of what follows
  std::condition_variable wished_, changed_;
  Wishes wishes_;
  Standing standing_;
  u64 changes_{};  // how often standing_ did
};

}  // namespace vireo::machine
