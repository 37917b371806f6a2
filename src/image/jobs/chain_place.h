#pragma once

#include "image/jobs/job_work.h"

namespace vireo::image {

/// Errc::unsupported for disks without a name, Errc::denied for those that are only read.
Result<> check_has_chain(JobPlace const& place);
/// Where in a chain the image of that path lies; the top is 0. Errc::not_found.
Result<std::size_t> depth_of(std::vector<Layer> const& chain, std::string const& path);

}  // namespace vireo::image
