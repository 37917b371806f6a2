#pragma once

#include <memory>
#include <utility>

#include "net/port.h"

namespace vireo::net {

/// Two ports joined by a wire: what one sends the other receives, on the sender's thread. A receiver without
/// room holds up to 256 frames back until resume(); more are dropped.
std::pair<std::unique_ptr<Port>, std::unique_ptr<Port>> make_cable();

}  // namespace vireo::net
