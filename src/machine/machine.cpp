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
  if (config.firmware == "linux") {
    TRY_IN("kernel", machine->media_.load(machine->memory_, Gpa{0}));  // before anything runs: does it fit?
  }
  machine->executor_ = TRY(MachineExecutor::create());
  auto model = TRY_IN("cpu", x86::CpuidModel::create(config.cpu, config.cpus));
  machine->engine_ = TRY(engine::create_software_engine({.vcpus = config.cpus,
                                                         .model = std::move(model),
                                                         .tier = tier_of(config.engine),
                                                         .code_cache = config.code_cache.bytes},
                                                        *machine));
  machine->devices_ = TRY(
      Devices::create(config, *machine->executor_, machine->memory_, *machine->engine_, *machine, *machine));
  for (auto const& disk : machine->disks()) machine->jobs_.add_disk(disk.name, disk.live);
  return machine;
}

Machine::Machine(MachineConfig const& config)
    : config_{config},
      created_ns_{host::monotonic_ns()},
      jobs_{[this](image::JobInfo const& job) { note_job(job); },
            [this](std::string const& disk, image::DiskSource const& now) -> Result<> {
              events_.add("disk-moved", disk, now.path);
              return {};
            }} {}

void Machine::note_job(image::JobInfo const& job) {
  auto text = fmt::format("{} of {} is {}", job.id, job.disk, image::name_of(job.state));
  if (!job.error.empty()) text += ": " + job.error;
  events_.add("job", job.id, std::move(text));
}

Machine::~Machine() {
  jobs_.end_all();
  if (engine_) engine_->stop();
  if (executor_) {
    executor_->with([&] { devices_.reset(); });
  }
}

Result<> Machine::prepare() {
  return executor_->with([this]() -> Result<> {
    devices_->reset();
    engine_->reset();
    if (config_.firmware != "linux") return {};  // the processor begins in it
    auto const rsdp =
        TRY_IN("acpi", firmware::store_acpi(memory_, {.vcpus = config_.cpus, .vga = has_vga(config_)}));
    auto const entry = TRY_IN("kernel", media_.load(memory_, rsdp));
    return engine_->set_vcpu_state(VcpuId{0}, start_state(entry));
  });
}

void Machine::go_on() {
  for (auto const& disk : devices_->disks()) disk.throttle->hurry(false);
  executor_->with([&] { devices_->start(); });
  engine_->start();
}

void Machine::halt() {
  engine_->stop();
  for (auto const& disk : devices_->disks()) disk.throttle->hurry(true);
  executor_->with([&] { devices_->stop(); });
}

Result<Ending> Machine::run() {
  auto ending = live();
  events_.add("ended", "", ending ? std::string{name_of(*ending)} : ending.error().what());
  stand({.condition = Condition::ended, .reason = {}});
  return ending;
}

Result<Ending> Machine::live() {
  TRY(prepare());
  go_on();
  events_.add("started", "", "");
  stand({.condition = Condition::running, .reason = {}});
  while (true) {
    auto wishes = next_wishes();
    auto const was_paused = standing().condition == Condition::paused;
    if (!was_paused) halt();
    if (!wishes.failure.empty()) return fail(Errc::corrupt, wishes.failure);
    if (wishes.quit) return Ending::quit;
    if (wishes.power_off) return Ending::power_off;
    if (wishes.reset && !config_.reboot) return Ending::reset;
    if (wishes.reset) {
      TRY(prepare());
      events_.add("reset", "", "");
    }
    if (wishes.pause && !was_paused) {
      executor_->stop_clock();
      events_.add("paused", "", *wishes.pause);
      stand({.condition = Condition::paused, .reason = std::move(*wishes.pause)});
    } else if (!was_paused || wishes.resume) {
      if (was_paused) {
        executor_->start_clock();
        events_.add("resumed", "", "");
      }
      go_on();
      stand({.condition = Condition::running, .reason = {}});
    }
  }
}

Machine::Wishes Machine::next_wishes() {
  auto lock = std::unique_lock{life_mutex_};
  wished_.wait(lock, [&] { return wishes_.any(); });
  return std::exchange(wishes_, {});
}

void Machine::stand(Standing standing) {
  auto const lock = std::lock_guard{life_mutex_};
  standing_ = std::move(standing);
  ++changes_;
  changed_.notify_all();
}

template <typename F>
void Machine::wish(F&& change) {
  {
    auto const lock = std::lock_guard{life_mutex_};
    change(wishes_);
  }
  wished_.notify_one();
}

std::string_view name_of(Condition condition) {
  switch (condition) {
    case Condition::starting: return "starting";
    case Condition::running: return "running";
    case Condition::paused: return "paused";
    case Condition::ended: return "ended";
  }
  return "unknown";
}

std::string_view name_of(Ending ending) {
  switch (ending) {
    case Ending::power_off: return "the guest powered off";
    case Ending::reset: return "the guest reset";
    case Ending::quit: return "quit";
  }
  return "unknown";
}

u64 Machine::uptime_ns() const { return host::monotonic_ns() - created_ns_; }

Standing Machine::standing() const {
  auto const lock = std::lock_guard{life_mutex_};
  return standing_;
}

Result<> Machine::pause(std::string reason) {
  wish_pause(std::move(reason));
  auto lock = std::unique_lock{life_mutex_};
  changed_.wait(lock, [&] { return standing_.condition >= Condition::paused; });
  if (standing_.condition == Condition::paused) return {};
  return fail(Errc::gone, "the machine has ended");
}

Result<> Machine::resume() {
  auto lock = std::unique_lock{life_mutex_};
  if (standing_.condition == Condition::ended) return fail(Errc::gone, "the machine has ended");
  wishes_.pause.reset();
  if (standing_.condition != Condition::paused) return {};
  wishes_.resume = true;
  wished_.notify_one();
  changed_.wait(lock, [&, before = changes_] { return changes_ != before; });
  return standing_.condition == Condition::ended ? fail(Errc::gone, "the machine has ended") : Result<>{};
}

void Machine::quit() {
  wish([](Wishes& wishes) { wishes.quit = true; });
}
void Machine::reset() {
  wish([](Wishes& wishes) { wishes.reset = true; });
}
void Machine::press_power_button() {
  executor_->post([this] { devices_->press_power_button(); });
}

void Machine::request_power_off() {
  wish([](Wishes& wishes) { wishes.power_off = true; });
}

void Machine::request_reset(char const* reason) {
  observe::log(observe::Level::info, "machine", "reset: {}", reason);
  reset();
}

void Machine::request_pause(std::string reason) {
  observe::log(observe::Level::warning, "machine", "pausing: {}; 'vireo resume {}' lets it go on", reason,
               config_.name);
  wish_pause(std::move(reason));
}

void Machine::wish_pause(std::string reason) {
  wish([&](Wishes& wishes) {
    if (!wishes.pause) wishes.pause = std::move(reason);
    wishes.resume = false;
  });
}

void Machine::request_failure(std::string reason) {
  wish([&](Wishes& wishes) { wishes.failure = std::move(reason); });
}

void Machine::set(bus::WindowLayer layer, std::vector<memory::GuestMemory::Window> windows) {
  windows_.at(static_cast<std::size_t>(layer)) = std::move(windows);
  auto all = std::vector<memory::GuestMemory::Window>{};
  for (auto const& each : windows_) all.insert(all.end(), each.begin(), each.end());
  engine_->change_memory([&] { memory_.set_windows(all); });
}

void Machine::report_failure(char const* reason) { request_failure(reason); }

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
