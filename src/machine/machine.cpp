#include "machine/machine.h"

#include <fmt/format.h>

#include "firmware/acpi/acpi.h"
#include "host/clock.h"
#include "machine/start_state.h"
#include "observe/log.h"

namespace vireo::machine {

namespace {
engine::Tier tier_of(std::string_view engine) {
  if (engine == "software,interpret") return engine::Tier::interpret;
  return engine == "software,verify" ? engine::Tier::verify : engine::Tier::translate;
}
}  // namespace

Result<std::unique_ptr<Machine>> Machine::create(MachineConfig const& config) {
  auto machine = std::unique_ptr<Machine>{new Machine{config}};
  machine->media_ = TRY(BootMedia::open(config));
  TRY_IN("memory", add_ram(machine->memory_, config.memory.bytes));
  TRY_IN("kernel", machine->media_.load(machine->memory_, Gpa{0}));  // before anything runs: does it fit?
  machine->executor_ = TRY(MachineExecutor::create());
  auto model = TRY_IN("cpu", x86::CpuidModel::create(config.cpu, config.cpus));
  machine->engine_ = TRY(engine::create_software_engine({.vcpus = config.cpus,
                                                         .model = std::move(model),
                                                         .tier = tier_of(config.engine),
                                                         .code_cache = config.code_cache.bytes},
                                                        *machine));
  machine->devices_ =
      TRY(Devices::create(config, *machine->executor_, machine->memory_, *machine->engine_, *machine));
  return machine;
}

Machine::~Machine() {
  if (engine_) engine_->stop();
  if (executor_) {
    executor_->with([&] { devices_.reset(); });
  }
}

Result<> Machine::power_on() {
  TRY(executor_->with([this] { return prepare(); }));
  engine_->start();
  return {};
}

Result<> Machine::prepare() {
  devices_->reset();
  engine_->reset();
  auto const rsdp = TRY_IN("acpi", firmware::store_acpi(memory_, {.vcpus = config_.cpus}));
  auto const entry = TRY_IN("kernel", media_.load(memory_, rsdp));
  TRY(engine_->set_vcpu_state(VcpuId{0}, start_state(entry)));
  devices_->start();
  return {};
}

void Machine::power_down() {
  engine_->stop();
  executor_->with([&] { devices_->stop(); });
}

Result<Ending> Machine::run() {
  TRY(power_on());
  while (true) {
    auto const wishes = [&] {
      auto lock = std::unique_lock{wishes_mutex_};
      wished_.wait(lock, [&] { return wishes_.any(); });
      return std::exchange(wishes_, {});
    }();
    power_down();
    if (!wishes.failure.empty()) return fail(Errc::corrupt, wishes.failure);
    if (wishes.quit) return Ending::quit;
    if (wishes.power_off) return Ending::power_off;
    if (!config_.reboot) return Ending::reset;
    TRY(power_on());
  }
}

void Machine::wish(bool Wishes::* which) {
  {
    auto const lock = std::lock_guard{wishes_mutex_};
    wishes_.*which = true;
  }
  wished_.notify_one();
}

void Machine::quit() { wish(&Wishes::quit); }
void Machine::reset() { wish(&Wishes::reset); }
void Machine::press_power_button() {
  executor_->post([this] { devices_->press_power_button(); });
}

void Machine::request_reset(char const* reason) {
  observe::log(observe::Level::info, "machine", "reset: {}", reason);
  wish(&Wishes::reset);
}

void Machine::report_failure(char const* reason) {
  {
    auto const lock = std::lock_guard{wishes_mutex_};
    wishes_.failure = reason;
  }
  wished_.notify_one();
}

u64 Machine::read_mmio(Gpa at, u8 width) {
  return executor_->with([&] { return devices_->address_map().read_mmio(at, width); });
}
void Machine::write_mmio(Gpa at, u8 width, u64 value) {
  executor_->with([&] { devices_->address_map().write_mmio(at, width, value); });
}
u32 Machine::read_port(u16 port, u8 width) {
  return executor_->with([&] { return devices_->address_map().read_port(port, width); });
}
void Machine::write_port(u16 port, u8 width, u32 value) {
  executor_->with([&] { devices_->address_map().write_port(port, width, value); });
}
int Machine::acknowledge_pic() {
  return executor_->with([&] { return devices_->acknowledge_pic(); });
}
void Machine::broadcast_eoi(u8 vector) {
  executor_->with([&] { devices_->end_of_interrupt(vector); });
}
u64 Machine::wall_clock_ns() { return host::wall_clock_ns(); }

}  // namespace vireo::machine
