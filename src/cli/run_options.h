#pragma once

#include <span>

#include "cli/options.h"
#include "machine/config.h"

namespace vireo::cli {

/// What `vireo run` was asked for.
struct RunRequest {
  machine::MachineConfig config;
  std::string trace;  // what the engine prints of its work: engine/trace.h
  bool perf_map{};
  bool dry_run{};
  bool help_shown{};
};

/// Reads the command line of `vireo run`. --spec is read first, the other flags change what it says.
Result<RunRequest> parse_run(std::span<char const* const> arguments);

/// PATH[,format=F][,readonly][,temporary][,follow-backing][,cache=M]; a comma in the path is written twice.
Result<machine::DiskConfig> parse_disk(std::string_view text);
/// user[,forward=HOST:GUEST]...[,mac=M]
Result<machine::NetConfig> parse_net(std::string_view text);

}  // namespace vireo::cli
