#include "cli/run_command.h"

#include <fmt/format.h>
#include <sys/mman.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <cstdlib>
#include <filesystem>

#include "cli/image_run.h"
#include "cli/run_options.h"
#include "machine/pool_store.h"
#include "machine/spec.h"

namespace vireo::cli {
namespace {

/// Replaces this process by the one machine. The spec travels in a memory file that the new program inherits.
/// What the engine shows of its work travels in the environment: it is no part of the machine.
Result<int> become_vmm(RunRequest const& request) {
  auto const& config = request.config;
  if (!request.trace.empty()) ::setenv("VIREO_TRACE", request.trace.c_str(), 1);
  if (request.perf_map) ::setenv("VIREO_PERF_MAP", "1", 1);
  auto failure = std::error_code{};
  auto const self = std::filesystem::read_symlink("/proc/self/exe", failure);
  auto const program = (self.parent_path() / "vireo-vmm").string();
  auto const text = machine::write_spec(config);
  auto const fd = ::memfd_create("vireo-spec", 0);
  if (fd < 0 || ::write(fd, text.data(), text.size()) != static_cast<ssize_t>(text.size())) {
    return fail(Errc::io, fmt::format("memory file for the spec: {}", std::strerror(errno)));
  }
  auto const path = fmt::format("/proc/self/fd/{}", fd);
  ::execl(program.c_str(), "vireo-vmm", "--spec", path.c_str(), nullptr);
  return fail(Errc::not_found,
              fmt::format("{}: {}; it belongs beside the vireo program", program, std::strerror(errno)));
}

Result<int> run(std::span<char const* const> arguments) {
  auto request = TRY(parse_run(arguments));
  if (request.help_shown) return 0;
  TRY(apply_image(request.config));
  for (auto& disk : request.config.disks) TRY(machine::resolve_volume(disk));
  TRY(machine::check_config(request.config));
  if (request.dry_run) {
    std::fputs(machine::write_spec(request.config).c_str(), stdout);
    return 0;
  }
  return become_vmm(request);
}

}  // namespace

int run_command(std::span<char const* const> arguments) {
  auto const status = run(arguments);
  return status ? *status : report(status.error());
}

}  // namespace vireo::cli
