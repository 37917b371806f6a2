#include "machine/control/control_client.h"

#include <unistd.h>

#include "host/clock.h"
#include "host/socket.h"
#include "machine/control/control_socket.h"

namespace vireo::machine {
namespace json = boost::json;
namespace {

constexpr u64 greeting_patience_ns{10'000'000'000};
constexpr std::size_t reply_limit{64u << 20};

Error error_of(json::value const& reply) {
  auto const* const object = reply.if_object();
  auto const* const code = object != nullptr ? object->if_contains("code") : nullptr;
  auto const* const message = object != nullptr ? object->if_contains("message") : nullptr;
  if (code == nullptr || message == nullptr || !code->is_string() || !message->is_string()) {
    return Error{Errc::io, "the machine's answer has no error text"};
  }
  for (auto i = std::size_t{0}; i < control::error_codes.size(); ++i) {
    if (code->get_string() == control::error_codes.at(i))
      return Error{static_cast<Errc>(i), std::string{message->get_string()}};
  }
  return Error{Errc::io, std::string{message->get_string()}};
}

Result<json::value> parse_line(std::optional<std::string> const& line) {
  if (!line) return fail(Errc::gone, "the machine has ended");
  auto failure = json::error_code{};
  auto parsed = json::parse(*line, failure);
  if (failure) return fail(Errc::io, fmt::format("the machine's answer is not JSON: {}", failure.message()));
  return parsed;
}

}  // namespace

Result<ControlClient> ControlClient::connect(std::string const& name) {
  auto socket = host::connect_unix(control_path(name));
  if (!socket) {
    auto const names = running_machines();
    return fail(Errc::not_found, names.empty() ? fmt::format("no machine named '{}' runs, and no other", name)
                                               : fmt::format("no machine named '{}' runs; there are: {}", name,
                                                             fmt::join(names, ", ")));
  }
  auto channel = LineChannel{std::move(*socket)};
  auto const line =
      TRY_IN(name, channel.read(control::line_limit, -1, host::monotonic_ns() + greeting_patience_ns));
  auto greeting = control::Greeting{};
  auto const parsed = TRY_IN(name, parse_line(line));
  TRY_IN(name, from_json(parsed, "greeting", greeting, UnknownKeys::ignore));
  if (greeting.protocol != control::protocol_version) {
    return fail(Errc::unsupported, fmt::format("{}: speaks protocol {} of the control socket, this program {}",
                                               name, greeting.protocol, control::protocol_version));
  }
  return ControlClient{std::move(channel), std::move(greeting)};
}

Result<json::value> ControlClient::call(std::string_view verb, json::value arguments) {
  auto const request = json::object{{"id", next_id_++}, {"verb", verb}, {"arguments", std::move(arguments)}};
  auto const sent = channel_.write(json::serialize(request));
  if (!sent) return fail(Errc::gone, "the machine has ended");
  auto const line = TRY(channel_.read(reply_limit, -1));
  auto reply = TRY(parse_line(line));
  auto* const object = reply.if_object();
  if (object == nullptr) return fail(Errc::io, "the machine's answer is no object");
  if (auto const* const error = object->if_contains("error")) return std::unexpected{error_of(*error)};
  auto* const result = object->if_contains("result");
  return result != nullptr ? Result<json::value>{std::move(*result)}
                           : fail(Errc::io, "an answer without a result");
}

std::vector<std::string> running_machines() {
  auto alive = std::vector<std::string>{};
  for (auto& name : control_names()) {
    auto const path = control_path(name);
    auto const socket = host::connect_unix(path);
    if (socket) {
      alive.push_back(std::move(name));
    } else if (socket.error().code() == Errc::io) {  // ECONNREFUSED
      ::unlink(path.c_str());
    }
  }
  return alive;
}

}  // namespace vireo::machine
