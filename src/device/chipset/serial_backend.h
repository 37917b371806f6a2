#pragma once

#include "vocab/bytes.h"
#include "vocab/integers.h"

namespace vireo::device {

/// What stands at the other end of a serial line. Called on the executor.
class SerialBackend {
 public:
  virtual ~SerialBackend() = default;
  /// Bytes that the guest sent. All are taken.
  virtual void transmit(ConstBytes bytes) = 0;
  /// The port has room again after SerialPort::receive() took less than it was offered.
  virtual void receive_ready() = 0;
};

/// The port as its backend sees it. Called on the executor.
class SerialPort {
 public:
  virtual ~SerialPort() = default;
  /// Offers bytes to the guest; returns how many were taken. The caller keeps the rest until receive_ready().
  virtual u32 receive(ConstBytes bytes) = 0;
  virtual void connect(SerialBackend* backend) = 0;
};

}  // namespace vireo::device
