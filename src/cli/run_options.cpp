#include "cli/run_options.h"

#include <fmt/format.h>

#include <algorithm>

#include "engine/trace.h"
#include "host/file.h"
#include "machine/spec.h"
#include "vocab/units.h"

namespace vireo::cli {
namespace {

using machine::DiskConfig;
using machine::NetConfig;

/// Splits at single commas; two commas stand for one.
std::vector<std::string> split_list(std::string_view text) {
  auto parts = std::vector<std::string>{""};
  for (auto i = std::size_t{0}; i < text.size(); ++i) {
    if (text[i] != ',') {
      parts.back() += text[i];
    } else if (i + 1 < text.size() && text[i + 1] == ',') {
      parts.back() += text[i++];
    } else {
      parts.emplace_back();
    }
  }
  return parts;
}

auto set_text(std::string& field) {
  return [&field](std::string_view value) -> Result<> {
    field = value;
    return {};
  };
}

Result<> read_spec_file(machine::MachineConfig& config, std::string_view path) {
  auto const text = TRY(host::read_text(std::string{path}));
  config = TRY(machine::read_spec(text, path));
  return {};
}

/// False: it is none of them.
Result<bool> take_limit(DiskConfig& disk, std::string_view part) {
  auto const equals = std::min(part.find('='), part.size());
  auto const name = part.substr(0, equals);
  auto const value = part.substr(std::min(equals + 1, part.size()));
  if (name == "iops") disk.iops = static_cast<u32>(TRY(parse_number(value, ~u32{0})));
  if (name == "iops-burst") disk.iops_burst = static_cast<u32>(TRY(parse_number(value, ~u32{0})));
  if (name == "bps") disk.bps.bytes = TRY(parse_size(value));
  if (name == "bps-burst") disk.bps_burst.bytes = TRY(parse_size(value));
  if (name == "throttle-group") disk.throttle_group = value;
  return name == "iops" || name == "iops-burst" || name == "bps" || name == "bps-burst" ||
         name == "throttle-group";
}

}  // namespace

Result<DiskConfig> parse_disk(std::string_view text) {
  auto const parts = split_list(text);
  auto disk = DiskConfig{.path = parts.front()};
  for (auto i = std::size_t{1}; i < parts.size(); ++i) {
    auto const& part = parts[i];
    if (part == "readonly")
      disk.readonly = true;
    else if (part == "temporary")
      disk.temporary = true;
    else if (part == "follow-backing")
      disk.follow_backing = true;
    else if (part.starts_with("format="))
      disk.format = part.substr(7);
    else if (part.starts_with("key-file="))
      disk.key_file = part.substr(9);
    else if (part.starts_with("on-error="))
      disk.on_error = part.substr(9);
    else if (part.starts_with("cache="))
      disk.cache = part.substr(6);
    else if (!TRY_IN(part, take_limit(disk, part)))
      return fail(
          Errc::invalid,
          fmt::format("'{}' is not one of format=F, readonly, temporary, follow-backing, key-file=F, cache=M, "
                      "iops=N, "
                      "iops-burst=N, bps=SIZE, bps-burst=SIZE, throttle-group=NAME, on-error=pause|report|stop",
                      part));
  }
  return disk;
}

Result<NetConfig> parse_net(std::string_view text) {
  auto const parts = split_list(text);
  auto network = NetConfig{.kind = parts.front()};
  for (auto i = std::size_t{1}; i < parts.size(); ++i) {
    auto const& part = parts[i];
    if (part.starts_with("forward="))
      network.forward.push_back(part.substr(8));
    else if (part.starts_with("mac="))
      network.mac = part.substr(4);
    else
      return fail(Errc::invalid, fmt::format("'{}' is not one of forward=HOST:GUEST, mac=M", part));
  }
  return network;
}

Result<RunRequest> parse_run(std::span<char const* const> arguments) {
  auto request = RunRequest{};
  auto& config = request.config;
  auto spec_read = false;
  auto disks_given = false, networks_given = false;
  auto command =
      Command{.usage = "vireo run [IMAGE] [OPTION]...",
              .summary =
                  "Runs a virtual machine in the foreground. IMAGE is a name from 'vireo image list'.\n"
                  "On a console on stdio, Ctrl-] ? lists the escapes.",
              .options = {},
              .positional = [&](std::string_view value) -> Result<> {
                if (!config.image.empty())
                  return fail(Errc::invalid, fmt::format("a second image, '{}'", value));
                config.image = value;
                return {};
              }};
  command.options = {
      {"--spec", "FILE.yaml", "take the machine from a file; other flags change it",
       [&](std::string_view value) -> Result<> {
         return spec_read ? Result<>{} : read_spec_file(config, value);
       }},
      {"--name", "N", "name of the machine", set_text(config.name)},
      {"--engine", "auto|software|software,TIER|kvm",
       "what runs the guest's code (auto); TIER: translate, interpret, or verify, which compares both",
       set_text(config.engine)},
      {"--code-cache", "SIZE", "memory for translated code, 4MiB to 2GiB (64MiB)",
       [&](std::string_view value) -> Result<> {
         config.code_cache.bytes = TRY(parse_size(value));
         return {};
       }},
      {"--cpu", "MODEL", "x86-64-v2, x86-64-v3 or host (host)", set_text(config.cpu)},
      {"--cpus", "N", "virtual processors (1)",
       [&](std::string_view value) -> Result<> {
         config.cpus = static_cast<u32>(TRY(parse_number(value, machine::max_vcpus)));
         return {};
       }},
      {"--memory", "SIZE", "guest memory (1GiB)",
       [&](std::string_view value) -> Result<> {
         config.memory.bytes = TRY(parse_size(value));
         return {};
       }},
      {"--firmware", "linux|bios|FILE",
       "what starts the machine: linux boots --kernel, bios is SeaBIOS (linux)", set_text(config.firmware)},
      {"--firmware-log", "FILE", "write there what the firmware says of its work",
       set_text(config.firmware_log)},
      {"--vga", "auto|std|none", "a screen; auto: one where there is firmware (auto)", set_text(config.vga)},
      {"--kernel", "FILE", "boot this Linux kernel (bzImage, or vmlinux with PVH)", set_text(config.kernel)},
      {"--initrd", "FILE", "initial RAM disk", set_text(config.initrd)},
      {"--append", "TEXT", "kernel command line", set_text(config.append)},
      {"--disk",
       "PATH[,format=F][,readonly][,temporary][,follow-backing][,key-file=F][,cache=M][,iops=N][,bps=SIZE]...",
       "add a disk (format found by looking)",
       [&](std::string_view value) -> Result<> {
         if (!disks_given) config.disks.clear();
         disks_given = true;
         config.disks.push_back(TRY(parse_disk(value)));
         return {};
       }},
      {"--on-error", "pause|report|stop",
       "what a disk's failed request does to the machine (pause); on-error=... of a --disk says it for that "
       "one",
       set_text(config.on_error)},
      {"--net", "user[,forward=HOST:GUEST]...|none", "add a network card behind NAT (user)",
       [&](std::string_view value) -> Result<> {
         if (!networks_given) config.networks.clear();
         networks_given = true;
         if (value == "none") return {};
         config.networks.push_back(TRY(parse_net(value)));
         return {};
       }},
      {"--console", "stdio|none|FILE|unix:PATH", "where the serial console goes (stdio)",
       set_text(config.console)},
      {"--virtio-console", "stdio|none|FILE|unix:PATH", "where hvc0 goes (none: no such device)",
       set_text(config.virtio_console)},
      {"--no-reboot", "", "end with status 3 when the guest resets",
       [&](std::string_view) -> Result<> {
         config.reboot = false;
         return {};
       }},
      {"--trace", "WHAT[,WHAT]...",
       "print to stderr what the engine does: blocks, tlb, exits, exceptions, registers, counters (at the end)",
       [&](std::string_view value) -> Result<> {
         TRY(engine::parse_trace(value));
         request.trace = value;
         return {};
       }},
      {"--perf-map", "", "list translated code in /tmp/perf-PID.map, for 'perf report'",
       [&](std::string_view) -> Result<> {
         request.perf_map = true;
         return {};
       }},
      {"--dry-run", "", "print the resulting spec and stop",
       [&](std::string_view) -> Result<> {
         request.dry_run = true;
         return {};
       }},
  };
  for (auto i = std::size_t{0}; i < arguments.size(); ++i) {
    auto const word = std::string_view{arguments[i]};
    auto path = std::string_view{};
    if (word.starts_with("--spec="))
      path = word.substr(7);
    else if (word == "--spec" && i + 1 < arguments.size())
      path = arguments[i + 1];
    if (path.empty()) continue;
    TRY_IN("--spec", read_spec_file(config, path));
    spec_read = true;
  }
  auto const parsed = TRY(parse(command, arguments));
  request.help_shown = parsed == Parsed::help_shown;
  if (!spec_read && !networks_given) config.networks.push_back({});
  return request;
}

}  // namespace vireo::cli
