#include "cli/options.h"

#include <fmt/format.h>

#include <algorithm>
#include <cstdio>
#include <optional>

#include "vocab/units.h"

namespace vireo::cli {
namespace {

Option const* find_option(Command const& command, std::string_view name) {
  auto const found = std::ranges::find(command.options, name, &Option::name);
  return found == command.options.end() ? nullptr : &*found;
}

std::unexpected<Error> unknown_option(Command const& command, std::string_view name) {
  auto names = std::vector<std::string_view>{};
  for (auto const& option : command.options) names.push_back(option.name);
  auto const hint = nearest(name, names);
  return fail(Errc::invalid, hint.empty() ? fmt::format("unknown option '{}'; --help lists them", name)
                                          : fmt::format("unknown option '{}'; did you mean '{}'?", name, hint));
}

}  // namespace

Result<Parsed> parse(Command const& command, std::span<char const* const> arguments) {
  auto const wants_help = [](std::string_view argument) { return argument == "--help" || argument == "-h"; };
  if (std::ranges::any_of(arguments, wants_help)) {
    std::fputs(help_text(command).c_str(), stdout);
    return Parsed::help_shown;
  }
  for (auto i = std::size_t{0}; i < arguments.size(); ++i) {
    auto const word = std::string_view{arguments[i]};
    if (!word.starts_with("-") || word == "-") {
      if (!command.positional) return fail(Errc::invalid, fmt::format("'{}' is one argument too many", word));
      TRY(command.positional(word));
      continue;
    }
    auto const equals = word.find('=');
    auto const name = word.substr(0, equals);
    auto const* const option = find_option(command, name);
    if (option == nullptr) return unknown_option(command, name);
    auto value = std::optional<std::string_view>{};
    if (equals != std::string_view::npos) value = word.substr(equals + 1);
    if (option->argument.empty() && value) return fail(Errc::invalid, fmt::format("{} takes no value", name));
    if (!option->argument.empty() && !value) {
      if (i + 1 == arguments.size()) {
        return fail(Errc::invalid, fmt::format("{} needs a value: {} {}", name, name, option->argument));
      }
      value = arguments[++i];
    }
    TRY_IN(name, option->set(value.value_or("")));
  }
  return Parsed::run;
}

std::string help_text(Command const& command) {
  auto text = fmt::format("usage: {}\n\n{}\n\n", command.usage, command.summary);
  for (auto const& option : command.options) {
    text += fmt::format("  {:<36} {}\n", fmt::format("{} {}", option.name, option.argument), option.help);
  }
  return text;
}

int report(Error const& error) {
  fmt::print(stderr, "vireo: {}\n", error.what());
  return exit_bad_configuration;
}

}  // namespace vireo::cli
