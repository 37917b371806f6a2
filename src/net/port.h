#pragma once

#include <functional>
#include <memory>

#include "vocab/bytes.h"

namespace vireo::net {

/// One end of a virtual cable. Frames are whole Ethernet frames without FCS, 14..65,550 bytes; others are
/// dropped and counted. send() may be called from any thread; the receiver is called on the thread of the
/// port's owner.
class Port {
 public:
  using Receiver = std::function<bool(ConstBytes frame)>;  // false: no room now, call resume() later
  virtual ~Port() = default;
  virtual void send(ConstBytes frame) = 0;
  virtual void set_receiver(Receiver receiver) = 0;
  /// The receiver has room again: deliver what was held back.
  virtual void resume() = 0;
};

}  // namespace vireo::net
