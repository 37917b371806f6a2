#pragma once

#include <string>
#include <string_view>
#include <vector>

namespace vireo::machine {

/// sources.list lines for a release, on the mirrors of which `index_targets` speaks: lines
/// LABEL|COMPONENT|URI as apt-get indextargets gives them. Empty when this host has no Debian mirror.
std::vector<std::string> debian_sources(std::string_view code_name, std::string_view index_targets);

}  // namespace vireo::machine
