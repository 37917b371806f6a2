#pragma once

#include <span>

namespace vireo::cli {

/// `vireo import`: a machine out of an OVA or OVF, as a spec and disks.
int import_command(std::span<char const* const> arguments);
/// `vireo vm-export`: the other way. The name is XCP-ng's; `export` serves a disk over the network.
int vm_export_command(std::span<char const* const> arguments);

}  // namespace vireo::cli
