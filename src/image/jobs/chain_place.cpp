#include "image/jobs/chain_place.h"

#include <fmt/format.h>

#include <filesystem>

namespace vireo::image {

Result<> check_has_chain(JobPlace const& place) {
  if (!place.disk->has_name()) {
    return fail(Errc::unsupported,
                fmt::format("{}: is a temporary overlay, which has no chain of images to change", place.name));
  }
  if (place.disk->geometry().read_only) return fail(Errc::denied, fmt::format("{}: is read only", place.name));
  return {};
}

Result<std::size_t> depth_of(std::vector<Layer> const& chain, std::string const& path) {
  auto failure = std::error_code{};
  for (auto depth = std::size_t{0}; depth < chain.size(); ++depth) {
    if (chain[depth].path == path || std::filesystem::equivalent(chain[depth].path, path, failure))
      return depth;
  }
  return fail(Errc::not_found, fmt::format("{}: {} is none of its images", chain.front().path, path));
}

}  // namespace vireo::image
