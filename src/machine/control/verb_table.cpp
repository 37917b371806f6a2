#include "machine/control/verb_table.h"

namespace vireo::machine {
namespace json = boost::json;
namespace {

json::value error_json(Error const& error) {
  auto const* const code = control::error_codes.at(static_cast<std::size_t>(error.code()));
  return json::object{{"code", code}, {"message", error.what()}};
}

Result<json::object> parse_request(std::string_view line) {
  auto failure = json::error_code{};
  auto parsed = json::parse(json::string_view{line.data(), line.size()}, failure);
  if (failure) return fail(Errc::invalid, fmt::format("not JSON: {}", failure.message()));
  if (!parsed.is_object()) {
    return fail(Errc::invalid, R"(an object is expected, as {"id":1,"verb":"status"})");
  }
  return std::move(parsed.get_object());
}

}  // namespace

std::string VerbTable::answer(std::string_view line) const {
  auto reply = json::object{};
  auto const result = [&]() -> Result<json::value> {
    auto const request = TRY(parse_request(line));
    if (auto const* const id = request.if_contains("id")) reply["id"] = *id;
    return perform(request);
  }();
  if (result) {
    reply["result"] = *result;
  } else {
    reply["error"] = error_json(result.error());
  }
  return json::serialize(reply);
}

Result<json::value> VerbTable::perform(json::object const& request) const {
  auto name = std::string{};
  auto const* arguments = static_cast<json::value const*>(nullptr);
  for (auto const& [key, value] : request) {
    if (key == "verb") {
      TRY(from_json(value, "verb", name));
    } else if (key == "arguments") {
      arguments = &value;
    } else if (key != "id") {
      return fail(Errc::invalid,
                  fmt::format("{}: unknown key; known are: id, verb, arguments", std::string{key}));
    }
  }
  auto const found = verbs_.find(name);
  if (found == verbs_.end()) {
    auto known = std::vector<std::string_view>{};
    for (auto const& [each, verb] : verbs_) known.push_back(each);
    auto const hint = nearest(name, known);
    return fail(Errc::invalid,
                fmt::format("unknown verb '{}'; {}", name,
                            hint.empty() ? "'help' lists them" : fmt::format("did you mean '{}'?", hint)));
  }
  return found->second.run(arguments != nullptr ? *arguments : json::value(json::object()));
}

control::Help VerbTable::help() const {
  auto help = control::Help{};
  for (auto const& [name, verb] : verbs_) help.verbs.push_back(verb.help);
  return help;
}

}  // namespace vireo::machine
