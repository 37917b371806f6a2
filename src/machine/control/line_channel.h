#pragma once

#include <optional>
#include <string>
#include <string_view>

#include "host/descriptor.h"
#include "vocab/integers.h"
#include "vocab/result.h"

namespace vireo::machine {

/// Lines over a stream socket. One thread.
class LineChannel {
 public:
  explicit LineChannel(host::Descriptor socket) : socket_{std::move(socket)} {}

  /// The next line without its end, or nothing when the peer has closed. Errc::invalid: longer than `limit`.
  /// Errc::gone: `stop`, a descriptor, became readable, or the time is over.
  Result<std::optional<std::string>> read(std::size_t limit, int stop, u64 deadline_ns = ~u64{0});
  /// Appends the line's end. Gives up on a peer that takes nothing for ten seconds.
  Result<> write(std::string_view line);

 private:
  host::Descriptor socket_;
  std::string pending_;
};

}  // namespace vireo::machine
