#include "machine/control/machine_verbs.h"

#include <unistd.h>

#include <algorithm>

#include "machine/control/job_verbs.h"
#include "machine/machine.h"

namespace vireo::machine {
namespace {

using namespace control;

constexpr u64 second_ns{1'000'000'000};
constexpr u32 longest_wait_seconds{3600};

DiskStatus status_of(MachineDisk const& disk) {
  auto const geometry = disk.image->geometry();
  auto const limits = disk.throttle->limits();
  return {.name = disk.name,
          .path = disk.live->has_name() ? disk.live->source().path : disk.config.path,
          .format = disk.live->has_name() ? disk.live->source().format : disk.config.format,
          .on_error = std::string{device::name_of(disk.errors->policy())},
          .throttle_group = disk.config.throttle_group,
          .bytes = geometry.bytes,
          .readonly = geometry.read_only,
          .iops = limits.operations,
          .iops_burst = limits.operations_burst,
          .bps = limits.bytes,
          .bps_burst = limits.bytes_burst};
}

Status status_of(Machine& machine) {
  auto const& config = machine.config();
  auto standing = machine.standing();
  auto status = Status{.name = config.name,
                       .state = std::string{name_of(standing.condition)},
                       .reason = std::move(standing.reason),
                       .pid = static_cast<u32>(::getpid()),
                       .uptime_ms = machine.uptime_ns() / 1'000'000,
                       .engine = config.engine,
                       .cpus = config.cpus,
                       .memory = config.memory.bytes,
                       .image = config.image,
                       .last_event = machine.events().last(),
                       .disks = {}};
  for (auto const& disk : machine.disks()) status.disks.push_back(status_of(disk));
  return status;
}

Result<MachineDisk const*> find_disk(Machine& machine, std::string const& name) {
  auto names = std::vector<std::string_view>{};
  for (auto const& disk : machine.disks()) {
    if (disk.name == name) return &disk;
    names.push_back(disk.name);
  }
  return fail(Errc::not_found,
              fmt::format("no disk '{}'; there {}", name,
                          names.empty() ? "is none" : fmt::format("are: {}", fmt::join(names, ", "))));
}

Result<DiskStatus> set_throttle(Machine& machine, DiskThrottle const& wish) {
  auto const& disk = *TRY(find_disk(machine, wish.disk));
  auto limits = disk.throttle->limits();
  limits.operations = wish.iops.value_or(limits.operations);
  limits.operations_burst = wish.iops_burst.value_or(limits.operations == 0 ? 0 : limits.operations_burst);
  limits.bytes = wish.bps.value_or(limits.bytes);
  limits.bytes_burst = wish.bps_burst.value_or(limits.bytes == 0 ? 0 : limits.bytes_burst);
  TRY_IN(wish.disk, image::check_limits(limits));
  disk.throttle->set(limits);
  return status_of(disk);
}

Result<DiskStatus> set_on_error(Machine& machine, DiskOnError const& wish) {
  auto const& disk = *TRY(find_disk(machine, wish.disk));
  disk.errors->set_policy(TRY(device::parse_error_policy(wish.on_error)));
  return status_of(disk);
}

/// The guest answers the power button; one that stands still cannot.
Result<Nothing> power_down(Machine& machine) {
  auto const standing = machine.standing();
  if (standing.condition == Condition::paused) {
    return fail(Errc::busy, fmt::format("the machine is paused ({}); resume it first", standing.reason));
  }
  machine.press_power_button();
  return Nothing{};
}

}  // namespace

void add_machine_verbs(VerbTable& verbs, Machine& machine) {
  verbs.add<Nothing>("help", "the verbs and their arguments",
                     [&](Nothing const&) -> Result<Help> { return verbs.help(); });
  verbs.add<Nothing>("status", "how the machine stands",
                     [&](Nothing const&) -> Result<Status> { return status_of(machine); });
  verbs.add<Pause>("pause", "stop vCPUs, devices and the machine's clock",
                   [&](Pause const& wish) -> Result<Status> {
                     TRY(machine.pause(wish.reason));
                     return status_of(machine);
                   });
  verbs.add<Nothing>("resume", "let a paused machine go on", [&](Nothing const&) -> Result<Status> {
    TRY(machine.resume());
    return status_of(machine);
  });
  verbs.add<Nothing>("reset", "as the reset button does", [&](Nothing const&) -> Result<Nothing> {
    machine.reset();
    return Nothing{};
  });
  verbs.add<Nothing>("powerdown", "press the power button: the guest decides",
                     [&](Nothing const&) { return power_down(machine); });
  verbs.add<Nothing>("quit", "end the machine at once, as if its plug was pulled",
                     [&](Nothing const&) -> Result<Nothing> {
                       machine.quit();
                       return Nothing{};
                     });
  verbs.add<AwaitEvents>("events", "what happened after event number 'after'; waits for the first",
                         [&](AwaitEvents const& wish) -> Result<Events> {
                           auto const seconds = std::min(wish.wait_seconds, longest_wait_seconds);
                           return Events{machine.events().wait(wish.after, seconds * second_ns)};
                         });
  verbs.add<DiskThrottle>("disk-throttle", "change the limits of a disk and its group; 0: none",
                          [&](DiskThrottle const& wish) { return set_throttle(machine, wish); });
  verbs.add<DiskOnError>("disk-on-error", "what a failed request of a disk does: pause, report or stop",
                         [&](DiskOnError const& wish) { return set_on_error(machine, wish); });
  add_job_verbs(verbs, machine.jobs());
}

}  // namespace vireo::machine
