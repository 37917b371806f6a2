#pragma once

#include "image/jobs/job_table.h"
#include "machine/control/verb_table.h"

namespace vireo::machine {

/// What the control socket does with the jobs on a machine's disks.
void add_job_verbs(VerbTable& verbs, image::JobTable& jobs);

}  // namespace vireo::machine
