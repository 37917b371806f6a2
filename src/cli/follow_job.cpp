#include "cli/follow_job.h"

#include <fmt/format.h>

#include "cli/image_tool.h"
#include "machine/control/job_protocol.h"

namespace vireo::cli {

using namespace machine::control;

Result<> follow_job(machine::ControlClient& client, std::string const& job, bool complete) {
  auto line = ProgressLine{{.name = "vireo"}, true};
  auto const report = line.report();
  auto completing = false;
  while (true) {
    auto const now =
        TRY(client.call<Job>("job-wait", JobWait{.job = job, .until_ready = !completing, .wait_seconds = 1}));
    if (now.total != 0) report({now.done, now.total});
    if (now.state == "running" || (now.state == "ready" && completing)) continue;
    if (now.state == "ready" && complete) {
      TRY(client.call<Nothing>("job-complete", OneJob{job}));
      completing = true;
      continue;
    }
    line.finish();
    if (now.state == "ready" || now.state == "completed") {
      fmt::print("{} is {}{}\n", job, now.state, now.note.empty() ? "" : ": " + now.note);
      return {};
    }
    return fail(Errc::io,
                fmt::format("{} is {}: {}", job, now.state, now.error.empty() ? now.note : now.error));
  }
}

}  // namespace vireo::cli
