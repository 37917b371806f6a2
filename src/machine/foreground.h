#pragma once

#include "machine/config.h"

namespace vireo::machine {

/// Exit statuses of a machine in the foreground, part of the command line's promise.
inline constexpr int exit_power_off{0};
inline constexpr int exit_failed{1};             // the host failed it while it ran
inline constexpr int exit_bad_configuration{2};  // found before the guest started
inline constexpr int exit_guest_reset{3};        // under reboot: false
inline constexpr int exit_interrupted{130};      // SIGINT; other ending signals: 128 + number

/// Runs a machine with its console and control socket until it ends; yields the exit status. Errors go to
/// stderr, one line each.
int run_foreground(MachineConfig config);

}  // namespace vireo::machine
