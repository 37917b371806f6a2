#pragma once

#include <functional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "vocab/integers.h"
#include "vocab/result.h"

namespace vireo::cli {

/// One command's options and positional arguments, as a table that yields parsing and help alike.
struct Option {
  std::string_view name;      // "--cpus"
  std::string_view argument;  // "N"; empty: a switch
  std::string_view help;
  std::function<Result<>(std::string_view)> set;
};
struct Command {
  std::string_view usage;  // "vireo run [IMAGE] [OPTION]..."
  std::string_view summary;
  std::vector<Option> options;
  std::function<Result<>(std::string_view)> positional;  // null: none are taken
};

enum class Parsed : u8 { run, help_shown };

/// Takes `--name VALUE` and `--name=VALUE`; `--help` prints and wins over errors. Errors name the option and
/// the mend.
Result<Parsed> parse(Command const& command, std::span<char const* const> arguments);
std::string help_text(Command const& command);

/// Prints "vireo: TEXT" to stderr and returns the exit status of a bad configuration, 2.
int report(Error const& error);
inline constexpr int exit_bad_configuration{2};

}  // namespace vireo::cli
