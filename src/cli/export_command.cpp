#include "cli/export_command.h"

#include <fmt/format.h>

#include "cli/image_tool.h"
#include "cli/serve_disk.h"

namespace vireo::cli {
namespace {

constexpr u64 most_connections{1024};

Result<> run(Arguments arguments) {
  auto request = ServeRequest{.announce = true};
  auto words = Words{};
  auto cache = std::string{};
  auto connections = u64{request.settings.max_connections};
  auto command = Command{.usage = "vireo export IMAGE [OPTION]...",
                         .summary =
                             "Serves a disk image of any format over the network, by the NBD protocol. Prints "
                             "its address when clients can connect, and ends with the last of them.",
                         .options = {},
                         .positional = into(words)};
  command.options = {
      {"--tcp", "ADDRESS:PORT", "where to listen (127.0.0.1:10809); port 0: any", into(request.tcp)},
      {"--unix", "PATH", "listen at a Unix socket instead", into(request.unix_path)},
      {"--name", "NAME", "the disk's name for clients (none)", into(request.name)},
      {"--description", "TEXT", "for people who list the disks", into(request.description)},
      {"--format", "FORMAT", "the image's format (found by looking)", into(request.format)},
      {"--bitmap", "NAME", "tell clients what has changed, as this bitmap has it", into(request.bitmaps)},
      {"--read-only", "", "clients cannot write", into(request.read_only)},
      {"--snapshot", "NAME", "the disk as it was then", into(request.snapshot)},
      {"--temporary", "", "what clients write is gone at the end", into(request.temporary)},
      {"--persistent", "", "go on after the last client", into(request.settings.persistent)},
      {"--max-connections", "N", "at a time (16)", into_number(connections)},
      {"--cache", "MODE", "writeback, none, writethrough, directsync or unsafe", into(cache)},
      {"--tls", "FOLDER", "encrypt: server-cert.pem, server-key.pem and ca-cert.pem lie there",
       into(request.tls_folder)},
      {"--tls-any-client", "", "with --tls: clients need no certificate", into(request.tls_any_client)},
      {"--follow-backing", "", "open the backing files that the image names", into(request.follow_references)},
      {"--pid-file", "FILE", "write the process's number there", into(request.pid_file)},
  };
  if (TRY(parse(command, arguments)) == Parsed::help_shown) return {};
  if (words.size() != 1) return fail(Errc::invalid, "export takes one image; --help tells more");
  if (!request.tcp.empty() && !request.unix_path.empty()) {
    return fail(Errc::invalid, "--tcp and --unix: one of them");
  }
  if (connections == 0 || connections > most_connections) {
    return fail(Errc::invalid, fmt::format("--max-connections: 1 to {}", most_connections));
  }
  if (request.tcp.empty()) request.tcp = fmt::format("127.0.0.1:{}", image::nbd::default_port);
  request.path = words[0];
  request.format = format_named(request.format);
  request.cache = TRY(parse_cache(cache));
  request.settings.max_connections = static_cast<u32>(connections);
  return serve_disk(request);
}

}  // namespace

int export_command(std::span<char const* const> arguments) {
  return ImageTool{.style = Style::vireo, .name = "vireo"}.failed(run(arguments));
}

}  // namespace vireo::cli
