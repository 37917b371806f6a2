#include "cli/machine_commands.h"

#include <fmt/format.h>
#include <signal.h>

#include <cstdio>

#include "cli/image_tool.h"
#include "cli/options.h"
#include "host/clock.h"
#include "machine/control/control_client.h"
#include "vocab/units.h"

namespace vireo::cli {
namespace {

using machine::ControlClient;
using namespace machine::control;

constexpr u32 poll_seconds{3600};
constexpr u64 second_ns{1'000'000'000};
constexpr u64 quit_patience_ns{30 * second_ns};

/// The options of a verb that takes one machine.
struct OneMachine {
  std::string_view verb, summary;
  std::vector<Option> options{};

  /// Its name, or nothing when help was shown.
  Result<std::optional<std::string>> parse(Arguments arguments) const {
    auto words = Words{};
    auto const usage = fmt::format("vireo {} VM{}", verb, options.empty() ? "" : " [OPTION]...");
    auto const command =
        Command{.usage = usage, .summary = summary, .options = options, .positional = into(words)};
    if (TRY(cli::parse(command, arguments)) == Parsed::help_shown) return std::optional<std::string>{};
    if (words.size() != 1)
      return fail(Errc::invalid, fmt::format("{} takes one machine; 'vireo ps' lists them", verb));
    return std::optional{std::move(words.front())};
  }
};

template <typename Reply>
int call_plainly(OneMachine const& line, Arguments arguments) {
  return machine_status([&]() -> Result<> {
    auto const name = TRY(line.parse(arguments));
    if (!name) return {};
    auto client = TRY(ControlClient::connect(*name));
    TRY_IN(*name, client.call<Reply>(line.verb, Nothing{}));
    return {};
  }());
}

std::string short_time(u64 ms) {
  auto const seconds = ms / 1000;
  if (seconds < 3600) return fmt::format("{}:{:02}", seconds / 60, seconds % 60);
  return fmt::format("{}:{:02}:{:02}", seconds / 3600, seconds / 60 % 60, seconds % 60);
}

/// Machines end while they are looked at: those are left out.
std::vector<Status> all_machines() {
  auto found = std::vector<Status>{};
  for (auto const& name : machine::running_machines()) {
    auto client = ControlClient::connect(name);
    if (!client) continue;
    auto status = client->call<Status>("status", Nothing{});
    if (status) found.push_back(std::move(*status));
  }
  return found;
}

/// False: it still runs at the deadline.
Result<bool> wait_for_end(ControlClient& client, u64 deadline_ns) {
  auto after = u64{0};
  while (host::monotonic_ns() < deadline_ns) {
    auto const left = (deadline_ns - host::monotonic_ns()) / second_ns + 1;
    auto const events = client.call<Events>(
        "events",
        AwaitEvents{.after = after, .wait_seconds = static_cast<u32>(std::min<u64>(left, poll_seconds))});
    if (!events && events.error().code() == Errc::gone) return true;
    TRY(events);
    for (auto const& each : events->events) {
      after = each.sequence;
      if (each.event == "ended") return true;
    }
  }
  return false;
}

std::string clock_text(u64 time_ns) {
  auto const seconds = static_cast<time_t>(time_ns / second_ns);
  auto parts = tm{};
  ::localtime_r(&seconds, &parts);
  return fmt::format("{:02}:{:02}:{:02}.{:03}", parts.tm_hour, parts.tm_min, parts.tm_sec,
                     time_ns % second_ns / 1'000'000);
}

Result<> follow_events(ControlClient& client, bool follow) {
  auto after = u64{0};
  while (true) {
    auto const events =
        client.call<Events>("events", AwaitEvents{.after = after, .wait_seconds = follow ? poll_seconds : 0});
    if (!events && events.error().code() == Errc::gone && follow) return {};
    TRY(events);
    for (auto const& each : events->events) {
      after = each.sequence;
      fmt::print("{} {}{}{}{}{}\n", clock_text(each.time_ns), each.event, each.subject.empty() ? "" : " ",
                 each.subject, each.text.empty() ? "" : ": ", each.text);
      if (each.event == "ended") return {};
    }
    std::fflush(stdout);
    if (!follow) return {};
  }
}

}  // namespace

int machine_status(Result<> const& result) {
  if (result) return 0;
  auto const status = report(result.error());
  return result.error().code() == Errc::invalid ? status : 1;
}

int ps_command(Arguments arguments) {
  return machine_status([&]() -> Result<> {
    auto format = std::string{"table"};
    auto const command =
        Command{.usage = "vireo ps [--format table|json|name]",
                .summary = "Lists the machines that run.",
                .options = {{"--format", "table|json|name", "how to print (table)", into(format)}},
                .positional = {}};
    if (TRY(parse(command, arguments)) == Parsed::help_shown) return {};
    if (format != "table" && format != "json" && format != "name") {
      return fail(Errc::invalid, fmt::format("--format {}: table, json or name", format));
    }
    auto const machines = all_machines();
    if (format == "json") fmt::print("{}\n", boost::json::serialize(machine::to_json(machines)));
    if (format == "table") {
      fmt::print("{:<20} {:<9} {:>8} {:>5} {:>9} {:>9}  {}\n", "NAME", "STATE", "PID", "CPUS", "MEMORY",
                 "UPTIME", "REASON");
    }
    for (auto const& each : machines) {
      if (format == "name") fmt::print("{}\n", each.name);
      if (format != "table") continue;
      fmt::print("{:<20} {:<9} {:>8} {:>5} {:>9} {:>9}  {}\n", each.name, each.state, each.pid, each.cpus,
                 format_size(each.memory), short_time(each.uptime_ms), each.reason);
    }
    return {};
  }());
}

int status_command(Arguments arguments) {
  return machine_status([&]() -> Result<> {
    auto const name = TRY((OneMachine{"status", "Prints how a machine stands, as JSON."}.parse(arguments)));
    if (!name) return {};
    auto client = TRY(ControlClient::connect(*name));
    auto const status = TRY_IN(*name, client.call<Status>("status", Nothing{}));
    fmt::print("{}\n", boost::json::serialize(machine::to_json(status)));
    return {};
  }());
}

int pause_command(Arguments arguments) {
  return machine_status([&]() -> Result<> {
    auto pause = Pause{};
    auto const name = TRY((OneMachine{"pause",
                                      "Stops a machine's processors, devices and clock until 'vireo resume'.",
                                      {{"--reason", "TEXT", "what 'vireo ps' says of it", into(pause.reason)}}}
                               .parse(arguments)));
    if (!name) return {};
    auto client = TRY(ControlClient::connect(*name));
    TRY_IN(*name, client.call<Status>("pause", pause));
    return {};
  }());
}

int resume_command(Arguments arguments) {
  return call_plainly<Status>({"resume", "Lets a paused machine go on."}, arguments);
}

int reset_command(Arguments arguments) {
  return call_plainly<Nothing>({"reset", "Resets a machine, as its button does."}, arguments);
}

int stop_command(Arguments arguments) {
  return machine_status([&]() -> Result<> {
    auto timeout = u64{60};
    auto const name =
        TRY((OneMachine{"stop",
                        "Presses a machine's power button and waits until the guest has shut down.",
                        {{"--timeout", "SECONDS", "how long to wait (60)", into_number(timeout)}}}
                 .parse(arguments)));
    if (!name) return {};
    auto client = TRY(ControlClient::connect(*name));
    TRY_IN(*name, client.call<Nothing>("powerdown", Nothing{}));
    auto const deadline = host::monotonic_ns() + std::min<u64>(timeout, 1u << 30) * second_ns;
    if (TRY_IN(*name, wait_for_end(client, deadline))) return {};
    return fail(Errc::busy,
                fmt::format("{}: the guest has not shut down in {} s; 'vireo kill {}' ends it at once", *name,
                            timeout, *name));
  }());
}

int kill_command(Arguments arguments) {
  return machine_status([&]() -> Result<> {
    auto const name =
        TRY((OneMachine{"kill", "Ends a machine at once, as if its plug was pulled."}.parse(arguments)));
    if (!name) return {};
    auto client = TRY(ControlClient::connect(*name));
    TRY_IN(*name, client.call<Nothing>("quit", Nothing{}));
    if (TRY_IN(*name, wait_for_end(client, host::monotonic_ns() + quit_patience_ns))) return {};
    ::kill(static_cast<pid_t>(client.greeting().pid), SIGKILL);
    fmt::print(stderr, "vireo: {}: did not end by itself; its process was killed\n", *name);
    return {};
  }());
}

int events_command(Arguments arguments) {
  return machine_status([&]() -> Result<> {
    auto follow = false;
    auto const name = TRY((OneMachine{"events",
                                      "Prints what happened to a machine.",
                                      {{"--follow", "", "and what happens, until it ends", into(follow)}}}
                               .parse(arguments)));
    if (!name) return {};
    auto client = TRY(ControlClient::connect(*name));
    return follow_events(client, follow);
  }());
}

}  // namespace vireo::cli
