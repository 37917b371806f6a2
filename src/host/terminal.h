#pragma once

#include "vocab/result.h"

namespace vireo::host {

bool is_terminal(int fd);

/// The terminal passes every key through untouched while this lives. Its old settings come back when this is
/// destroyed, at exit(), and at signals that end the process. One at a time.
class RawTerminal {
 public:
  static Result<RawTerminal> enter(int fd);
  RawTerminal(RawTerminal&& other) noexcept;
  RawTerminal& operator=(RawTerminal&&) = delete;
  ~RawTerminal();

 private:
  RawTerminal() = default;
  bool active_{true};
};

}  // namespace vireo::host
