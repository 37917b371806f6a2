#include <fmt/format.h>

#include <map>

#include "cli/qemu_img.h"
#include "cli/serve_disk.h"
#include "host/clock.h"
#include "image/nbd/client_handshake.h"
#include "vocab/units.h"

namespace vireo::cli {
namespace {

constexpr std::string_view version{"qemu-nbd 7.2.0 (vireo)"};
constexpr u32 unlimited_clients{1024};
constexpr u64 list_ns{10'000'000'000};

struct NbdWords {
  Words words{};
  Words objects{};
  std::string port{"10809"};
  std::string address{"0.0.0.0"};
  std::string cache{};
  std::string snapshot{};
  std::string credentials{};
  std::string offset{};
  std::string ignored{};
  std::string device{};
  u64 clients{1};
  bool no_cache{};
  bool depth{};
  bool list{};
  bool show_version{};
  bool switched{};
  ServeRequest request{};
};

Command command_of(NbdWords& asked) {
  auto& request = asked.request;
  auto command = Command{.usage = "qemu-nbd [OPTION]... FILE",
                         .summary = "Serves a disk image over the network, by the NBD protocol.",
                         .options = {},
                         .positional = into(asked.words)};
  auto const both = [&](std::string_view letter, std::string_view name, std::string_view argument,
                        std::string_view help, std::function<Result<>(std::string_view)> const& set) {
    command.options.push_back({letter, argument, help, set});
    command.options.push_back({name, argument, "the same", set});
  };
  both("-p", "--port", "PORT", "the port (10809)", into(asked.port));
  both("-b", "--bind", "ADDRESS", "the address (0.0.0.0)", into(asked.address));
  both("-k", "--socket", "PATH", "a Unix socket instead", into(request.unix_path));
  both("-e", "--shared", "NUM", "clients at a time (1); 0: any number", into_number(asked.clients));
  both("-t", "--persistent", "", "go on after the last client", into(request.settings.persistent));
  both("-x", "--export-name", "NAME", "the disk's name for clients", into(request.name));
  both("-D", "--description", "TEXT", "for people who list the disks", into(request.description));
  both("-o", "--offset", "OFFSET", "where in the disk the export begins", into(asked.offset));
  both("-A", "--allocation-depth", "", "not supported", into(asked.depth));
  both("-B", "--bitmap", "NAME", "tell clients what has changed", into(request.bitmaps));
  both("-L", "--list", "", "list the disks of another server", into(asked.list));
  both("-f", "--format", "FORMAT", "the image's format", into(request.format));
  both("-r", "--read-only", "", "clients cannot write", into(request.read_only));
  both("-s", "--snapshot", "", "what clients write is gone at the end", into(request.temporary));
  both("-l", "--load-snapshot", "SNAPSHOT", "the disk as it was then", into(asked.snapshot));
  both("-n", "--nocache", "", "past the host's cache", into(asked.no_cache));
  both("-v", "--verbose", "", "taken and not used", into(asked.switched));
  both("-V", "--version", "", "print the version", into(asked.show_version));
  both("-c", "--connect", "DEV", "not supported: the kernel's client", into(asked.device));
  both("-d", "--disconnect", "DEV", "not supported: the kernel's client", into(asked.device));
  both("-T", "--trace", "PATTERN", "taken and not used", into(asked.ignored));
  for (auto const name : {"--aio", "--discard", "--detect-zeroes"}) {
    command.options.push_back({name, "MODE", "taken and not used", into(asked.ignored)});
  }
  command.options.push_back({"--cache", "MODE", "how writes reach the disk", into(asked.cache)});
  command.options.push_back({"--object", "TYPE,...", "tls-creds-x509,id=ID,dir=FOLDER", into(asked.objects)});
  command.options.push_back(
      {"--tls-creds", "ID", "encrypt with the object of this name", into(asked.credentials)});
  command.options.push_back({"--fork", "", "go on in the background", into(request.fork)});
  command.options.push_back({"--pid-file", "PATH", "write the process's number there", into(request.pid_file)});
  return command;
}

/// As `qemu-nbd -L`: the names that another server has.
Result<> list(NbdWords const& asked) {
  auto address = image::nbd::Address{.host = asked.address == "0.0.0.0" ? "localhost" : asked.address,
                                     .port = asked.port,
                                     .socket = asked.request.unix_path};
  auto const deadline = host::monotonic_ns() + list_ns;
  auto stream = TRY(image::nbd::connect(address, deadline));
  auto const exports = TRY(image::nbd::list_exports(stream, address, nullptr, deadline));
  fmt::print("exports available: {}\n", exports.size());
  for (auto const& each : exports) {
    fmt::print(" export: '{}'\n", each.name);
    if (!each.description.empty()) fmt::print("  description: {}\n", each.description);
    address.name = each.name;
    auto chosen = TRY(image::nbd::connect(address, deadline));
    auto const terms = TRY(image::nbd::greet_server(chosen, address, nullptr, deadline));
    fmt::print("  size:  {}\n", terms.bytes);
    fmt::print("  min block: {}\n", terms.smallest_block);
  }
  return {};
}

Result<> take_credentials(NbdWords& asked) {
  for (auto const& object : asked.objects) {
    auto fields = std::map<std::string, std::string>{};
    TRY(add_options(fields, object));
    if (fields["id"] != asked.credentials) continue;
    if (!fields.contains("tls-creds-x509")) {
      return fail(Errc::unsupported,
                  fmt::format("--tls-creds {}: only tls-creds-x509 is supported", asked.credentials));
    }
    asked.request.tls_folder = fields["dir"];
    asked.request.tls_any_client = fields["verify-peer"] == "no" || fields["verify-peer"] == "off";
    return {};
  }
  return fail(Errc::invalid, fmt::format("No TLS credentials with id '{}'", asked.credentials));
}

Result<> prepare(NbdWords& asked) {
  auto& request = asked.request;
  if (!asked.device.empty()) return fail(Errc::unsupported, "the kernel's NBD client is not supported");
  if (asked.depth) return fail(Errc::unsupported, "--allocation-depth is not supported");
  if (asked.words.size() != 1) {
    return fail(Errc::invalid,
                fmt::format("Invalid number of arguments\nTry `qemu-nbd --help' for more information."));
  }
  if (!asked.credentials.empty()) TRY(take_credentials(asked));
  request.path = asked.words[0];
  request.follow_references = true;
  request.format = format_named(request.format);
  request.cache = asked.no_cache ? image::CacheMode::none : TRY(parse_cache(asked.cache));
  request.snapshot = asked.snapshot;
  for (auto const prefix : {"snapshot.id=", "snapshot.name="}) {
    if (request.snapshot.starts_with(prefix)) request.snapshot.erase(0, std::string_view{prefix}.size());
  }
  request.tcp = fmt::format(
      "{}:{}", asked.address.find(':') == std::string::npos ? asked.address : "[" + asked.address + "]",
      asked.port);
  if (!asked.offset.empty()) request.offset = TRY(parse_size(asked.offset));
  request.settings.max_connections = asked.clients == 0
                                         ? unlimited_clients
                                         : static_cast<u32>(std::min<u64>(asked.clients, unlimited_clients));
  return {};
}

}  // namespace

int qemu_nbd(Arguments arguments) {
  auto const tool = ImageTool{.style = Style::qemu, .name = "qemu-nbd"};
  auto asked = NbdWords{};
  auto const parsed = parse_tool(command_of(asked), arguments);
  if (!parsed) return tool.failed(parsed.error());
  if (*parsed == Parsed::help_shown) return 0;
  if (asked.show_version) {
    fmt::print("{}\n", version);
    return 0;
  }
  if (asked.list) return tool.failed(list(asked));
  if (auto const prepared = prepare(asked); !prepared) return tool.failed(prepared.error());
  return tool.failed(serve_disk(asked.request));
}

}  // namespace vireo::cli
