#pragma once

#include <string>
#include <string_view>

#include "machine/config.h"
#include "vocab/result.h"

namespace vireo::machine {

/// Reads `apiVersion: vireo/v1, kind: Instance, name, spec: {...}` (YAML, or JSON, which is YAML too). An error
/// names the line, the key and the nearest known key. `file` is only for messages.
Result<MachineConfig> read_spec(std::string_view text, std::string_view file);
/// The complete spec with every default, such that read_spec gives the same configuration.
std::string write_spec(MachineConfig const& config);

/// What can be said of a configuration without touching the host: names, ranges, combinations.
Result<> check_config(MachineConfig const& config);

}  // namespace vireo::machine
