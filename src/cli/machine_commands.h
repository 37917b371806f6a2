#pragma once

#include <span>

#include "vocab/result.h"

namespace vireo::cli {

// Verbs for machines that run. `arguments` follow the verb; each yields the exit status.
int ps_command(std::span<char const* const> arguments);
int status_command(std::span<char const* const> arguments);
int pause_command(std::span<char const* const> arguments);
int resume_command(std::span<char const* const> arguments);
int reset_command(std::span<char const* const> arguments);
int stop_command(std::span<char const* const> arguments);
int kill_command(std::span<char const* const> arguments);
int events_command(std::span<char const* const> arguments);
int screen_command(std::span<char const* const> arguments);
int screenshot_command(std::span<char const* const> arguments);
int key_command(std::span<char const* const> arguments);
int type_command(std::span<char const* const> arguments);
/// `vireo disk VERB VM ...`: the disks of a machine that runs.
int disk_command(std::span<char const* const> arguments);
/// `vireo job VERB VM [JOB]`: the jobs on these.
int job_command(std::span<char const* const> arguments);

/// Prints the error and yields its exit status: 2 when the command line is wrong, 1 when the machine, or the
/// lack of one, is in the way.
int machine_status(Result<> const& result);

}  // namespace vireo::cli
