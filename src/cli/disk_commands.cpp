#include <fmt/format.h>

#include <array>

#include "cli/image_tool.h"
#include "cli/job_commands.h"
#include "cli/machine_commands.h"
#include "cli/options.h"
#include "machine/control/control_client.h"
#include "vocab/units.h"

namespace vireo::cli {
namespace {

using machine::ControlClient;
using namespace machine::control;

Result<> list(Arguments arguments) {
  auto words = Words{};
  auto format = std::string{"table"};
  auto const command = Command{.usage = "vireo disk list VM [--format table|json]",
                               .summary = "Lists the disks of a machine that runs.",
                               .options = {{"--format", "table|json", "how to print (table)", into(format)}},
                               .positional = into(words)};
  if (TRY(parse(command, arguments)) == Parsed::help_shown) return {};
  if (words.size() != 1) return fail(Errc::invalid, "disk list takes one machine; 'vireo ps' lists them");
  if (format != "table" && format != "json")
    return fail(Errc::invalid, fmt::format("--format {}: table or json", format));
  auto client = TRY(ControlClient::connect(words[0]));
  auto const status = TRY_IN(words[0], client.call<Status>("status", Nothing{}));
  if (format == "json") {
    fmt::print("{}\n", boost::json::serialize(machine::to_json(status.disks)));
    return {};
  }
  fmt::print("{:<8} {:>9} {:<8} {:>7} {:>9}  {}\n", "DISK", "SIZE", "ON-ERROR", "IOPS", "BPS", "PATH");
  auto const limit = [](u64 value, std::string text) {
    return value == 0 ? std::string{"-"} : std::move(text);
  };
  for (auto const& disk : status.disks) {
    fmt::print("{:<8} {:>9} {:<8} {:>7} {:>9}  {}{}\n", disk.name, format_size(disk.bytes), disk.on_error,
               limit(disk.iops, std::to_string(disk.iops)), limit(disk.bps, format_size(disk.bps)), disk.path,
               disk.readonly ? " (read-only)" : "");
  }
  return {};
}

Result<> throttle(Arguments arguments) {
  auto words = Words{};
  auto wish = DiskThrottle{};
  auto const number = [](std::optional<u64>& field) {
    return [&field](std::string_view value) -> Result<> {
      field = TRY(parse_number(value, ~u32{0}));
      return {};
    };
  };
  auto const size = [](std::optional<u64>& field) {
    return [&field](std::string_view value) -> Result<> {
      field = TRY(parse_size(value));
      return {};
    };
  };
  auto const command =
      Command{.usage = "vireo disk throttle VM DISK [OPTION]...",
              .summary = "Changes the limits of a disk, and of its group, while it is used; 0 takes one away.",
              .options = {{"--iops", "N", "operations a second", number(wish.iops)},
                          {"--iops-burst", "N", "operations at once after a rest", number(wish.iops_burst)},
                          {"--bps", "SIZE", "bytes a second", size(wish.bps)},
                          {"--bps-burst", "SIZE", "bytes at once after a rest", size(wish.bps_burst)}},
              .positional = into(words)};
  if (TRY(parse(command, arguments)) == Parsed::help_shown) return {};
  if (words.size() != 2) return fail(Errc::invalid, "disk throttle takes a machine and a disk, as 'vm disk0'");
  wish.disk = words[1];
  auto client = TRY(ControlClient::connect(words[0]));
  TRY_IN(words[0], client.call<DiskStatus>("disk-throttle", wish));
  return {};
}

Result<> on_error(Arguments arguments) {
  auto words = Words{};
  auto const command = Command{.usage = "vireo disk on-error VM DISK pause|report|stop",
                               .summary = "Changes what a failed request of a disk does to the machine.",
                               .options = {},
                               .positional = into(words)};
  if (TRY(parse(command, arguments)) == Parsed::help_shown) return {};
  if (words.size() != 3)
    return fail(Errc::invalid, "disk on-error takes a machine, a disk and pause, report or stop");
  auto client = TRY(ControlClient::connect(words[0]));
  TRY_IN(words[0],
         client.call<DiskStatus>("disk-on-error", DiskOnError{.disk = words[1], .on_error = words[2]}));
  return {};
}

struct Verb {
  std::string_view name, help;
  Result<> (*run)(Arguments);
};
constexpr std::array verbs{
    Verb{"list", "list a machine's disks", list},
    Verb{"throttle", "change a disk's limits", throttle},
    Verb{"on-error", "change what a disk's errors do", on_error},
    Verb{"snapshot", "put a new image over a disk's", disk_snapshot},
    Verb{"stream", "bring what lies behind a disk's image into it", disk_stream},
    Verb{"commit", "bring a disk's image into the one behind it", disk_commit},
    Verb{"mirror", "copy a disk, keep the copy the same, go on there", disk_mirror},
    Verb{"backup", "copy a disk as it is now", disk_backup},
};

}  // namespace

int disk_command(Arguments arguments) {
  auto const wanted = arguments.empty() ? std::string_view{"--help"} : std::string_view{arguments[0]};
  auto names = std::vector<std::string_view>{};
  for (auto const& verb : verbs) {
    names.push_back(verb.name);
    if (verb.name != wanted) continue;
    return machine_status(verb.run(arguments.subspan(1)));
  }
  if (wanted == "--help" || wanted == "-h") {
    fmt::print(
        "usage: vireo disk VERB VM ...\nDisks of machines that run; 'vireo image' is for the others.\n\n");
    for (auto const& verb : verbs) fmt::print("  {:<10} {}\n", verb.name, verb.help);
    return arguments.empty() ? exit_bad_configuration : 0;
  }
  auto const hint = nearest(wanted, names);
  return report(
      Error{Errc::invalid, fmt::format("disk: unknown verb '{}'{}", wanted,
                                       hint.empty() ? "" : fmt::format("; did you mean '{}'?", hint))});
}

}  // namespace vireo::cli
