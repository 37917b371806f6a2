#pragma once

#include <string>

namespace vireo::host {

/// Where state lives: $VIREO_HOME; root: /var/lib/vireo; others: $XDG_DATA_HOME/vireo or ~/.local/share/vireo.
std::string home_folder();
/// Where sockets live: $VIREO_RUN; root: /run/vireo; others: $XDG_RUNTIME_DIR/vireo or a folder of the user's
/// in /tmp.
std::string run_folder();

}  // namespace vireo::host
