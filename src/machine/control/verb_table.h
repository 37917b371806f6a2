#pragma once

#include <functional>
#include <map>
#include <string>
#include <string_view>

#include "machine/control/json_fields.h"
#include "machine/control/protocol.h"

namespace vireo::machine {

/// The verbs of a control socket. Filled before the first answer(), which any thread may call.
class VerbTable {
 public:
  /// `run` takes Arguments const& and gives Result<Reply>; it may take its time.
  template <typename Arguments, typename F>
  void add(std::string name, std::string help, F run) {
    auto entry = control::VerbHelp{.verb = name, .help = std::move(help), .arguments = {}};
    auto sample = Arguments{};
    Arguments::fields(sample, [&](char const* key, auto&) { entry.arguments.emplace_back(key); });
    verbs_[std::move(name)] = {
        std::move(entry), [run = std::move(run)](boost::json::value const& json) -> Result<boost::json::value> {
          auto arguments = Arguments{};
          TRY(from_json(json, "arguments", arguments));
          auto const reply = TRY(run(arguments));
          return to_json(reply);
        }};
  }

  /// One line of a client to one line for it, without their ends: {"id":1,"verb":"pause","arguments":{}} gives
  /// {"id":1,"result":{}} or {"id":1,"error":{"code":"gone","message":"..."}}. Every line has an answer.
  std::string answer(std::string_view line) const;
  control::Help help() const;

 private:
  struct Verb {
    control::VerbHelp help;
    std::function<Result<boost::json::value>(boost::json::value const&)> run;
  };
  Result<boost::json::value> perform(boost::json::object const& request) const;

  std::map<std::string, Verb, std::less<>> verbs_;
};

}  // namespace vireo::machine
