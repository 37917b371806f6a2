#pragma once

#include <memory>
#include <string>

#include "machine/control/json_fields.h"
#include "machine/control/line_channel.h"
#include "machine/control/protocol.h"

namespace vireo::machine {

/// The other end of a machine's control socket. One thread.
class ControlClient {
 public:
  /// Errc::not_found: no such machine runs; the text names those that do.
  static Result<ControlClient> connect(std::string const& name);

  control::Greeting const& greeting() const { return greeting_; }
  /// Calls `verb` and waits for its answer. Errors are the machine's; Errc::gone: it ended before it answered.
  template <typename Reply, typename Arguments>
  Result<Reply> call(std::string_view verb, Arguments const& arguments) {
    auto const json = TRY(call(verb, to_json(arguments)));
    auto reply = Reply{};
    TRY(from_json(json, std::string{verb}, reply, UnknownKeys::ignore));
    return reply;
  }

 private:
  ControlClient(LineChannel channel, control::Greeting greeting)
      : channel_{std::move(channel)}, greeting_{std::move(greeting)} {}
  Result<boost::json::value> call(std::string_view verb, boost::json::value arguments);

  LineChannel channel_;
  control::Greeting greeting_;
  u64 next_id_{1};
};

/// Removes the sockets of machines that died without a word; names of the others, in order.
std::vector<std::string> running_machines();

}  // namespace vireo::machine
