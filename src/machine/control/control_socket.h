#pragma once

#include <string>
#include <vector>

#include "host/descriptor.h"
#include "vocab/result.h"

namespace vireo::machine {

/// The socket at which one running machine is found by its name. Its file goes with it.
class ControlSocket {
 public:
  /// Listens for the machine `name`. Errc::busy: a machine of that name runs.
  static Result<ControlSocket> claim(std::string const& name);
  /// The same under `name` or, when that is taken, under the first free of name-2, name-3, ...
  static Result<ControlSocket> claim_free(std::string const& name);
  ControlSocket(ControlSocket&&) = default;
  ControlSocket& operator=(ControlSocket&&) = delete;
  ~ControlSocket();

  std::string const& name() const { return name_; }
  int fd() const { return listener_.get(); }

 private:
  ControlSocket(std::string name, std::string path, host::Descriptor listener)
      : name_{std::move(name)}, path_{std::move(path)}, listener_{std::move(listener)} {}

  std::string name_, path_;
  host::Descriptor listener_;
};

/// Where the socket of machine `name` lies.
std::string control_path(std::string const& name);
/// Names of the machines whose sockets are there; some may have died without a word.
std::vector<std::string> control_names();

}  // namespace vireo::machine
