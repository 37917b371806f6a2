#pragma once

#include <string>
#include <string_view>

#include "vocab/integers.h"

namespace vireo::machine {

/// What every Debian image contains beside the essential packages, separated by commas.
std::string_view debian_packages();
/// Runs as root inside the new system. `ssh_key` may be empty.
std::string debian_setup_script(std::string_view root_password, std::string_view ssh_key);
/// sh -c SCRIPT sh TREE_OR_TAR FOLDER BYTES: leaves disk.raw, vmlinuz and initrd.img in FOLDER.
std::string_view debian_assemble_script();
/// 'text' for a shell.
std::string shell_quoted(std::string_view text);

inline constexpr std::string_view debian_command_line{"root=LABEL=vireo-root rw console=ttyS0"};

}  // namespace vireo::machine
