#pragma once

#include <string>

#include "machine/control/control_client.h"

namespace vireo::cli {

/// Shows how far a job is until it has ended, or is ready; `complete`: then it is told to go on there, and its
/// end is waited for. A job that fails, pauses or is cancelled is an error.
Result<> follow_job(machine::ControlClient& client, std::string const& job, bool complete);

}  // namespace vireo::cli
