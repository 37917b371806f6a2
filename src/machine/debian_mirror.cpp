#include "machine/debian_mirror.h"

#include <fmt/format.h>

namespace vireo::machine {

std::vector<std::string> debian_sources(std::string_view code_name, std::string_view index_targets) {
  auto main = std::string{};
  auto security = std::string{};
  while (!index_targets.empty()) {
    auto const line = index_targets.substr(0, index_targets.find('\n'));
    index_targets.remove_prefix(std::min(line.size() + 1, index_targets.size()));
    auto const first = line.find('|');
    auto const second = line.find('|', first + 1);
    if (second == std::string_view::npos || line.substr(first + 1, second - first - 1) != "main") continue;
    auto const label = line.substr(0, first);
    auto const uri = line.substr(second + 1);
    if (label == "Debian" && main.empty()) main = uri;
    if (label == "Debian-Security" && security.empty()) security = uri;
  }
  if (main.empty()) return {};
  auto lines = std::vector<std::string>{fmt::format("deb {} {} main", main, code_name),
                                        fmt::format("deb {} {}-updates main", main, code_name)};
  if (!security.empty()) lines.push_back(fmt::format("deb {} {}-security main", security, code_name));
  return lines;
}

}  // namespace vireo::machine
