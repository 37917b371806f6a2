#include "cli/image_tool.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <filesystem>

#include "host/terminal.h"
#include "image/backend.h"
#include "image/formats.h"
#include "image/operations/describe.h"
#include "vocab/units.h"

namespace vireo::cli {
namespace {

Option const* find_option(Command const& command, std::string_view name) {
  auto const found = std::ranges::find(command.options, name, &Option::name);
  return found == command.options.end() ? nullptr : &*found;
}

/// "-pfraw" becomes "-p", "-f", "raw".
void split_word(Command const& command, std::string_view word, Words& words) {
  auto const cluster = word.size() > 2 && word[0] == '-' && word[1] != '-' &&
                       find_option(command, word.substr(0, word.find('='))) == nullptr;
  if (!cluster) {
    words.emplace_back(word);
    return;
  }
  for (auto index = std::size_t{1}; index < word.size(); ++index) {
    auto const name = std::string{'-', word[index]};
    words.push_back(name);
    auto const* const option = find_option(command, name);
    if (option == nullptr || option->argument.empty()) continue;
    if (index + 1 < word.size()) words.emplace_back(word.substr(index + 1));
    return;
  }
}

}  // namespace

int ImageTool::failed(Error const& error) const {
  fmt::print(stderr, "{}: {}\n", name, error.what());
  return !is_qemu() && error.code() == Errc::invalid ? exit_bad_configuration : 1;
}

std::string ImageTool::shown_format(std::string_view format) const {
  return std::string{is_qemu() && format == "vhd" ? "vpc" : format};
}

Result<Parsed> parse_tool(Command const& command, Arguments arguments) {
  auto words = Words{};
  for (auto const* argument : arguments) split_word(command, argument, words);
  auto pointers = std::vector<char const*>{};
  for (auto const& word : words) pointers.push_back(word.c_str());
  return parse(command, pointers);
}

std::function<Result<>(std::string_view)> into(std::string& field) {
  return [&field](std::string_view value) -> Result<> {
    field = value;
    return {};
  };
}
std::function<Result<>(std::string_view)> into(Words& field) {
  return [&field](std::string_view value) -> Result<> {
    field.emplace_back(value);
    return {};
  };
}
std::function<Result<>(std::string_view)> into(bool& field) {
  return [&field](std::string_view) -> Result<> {
    field = true;
    return {};
  };
}
std::function<Result<>(std::string_view)> into_size(u64& field) {
  return [&field](std::string_view value) -> Result<> {
    field = TRY(parse_size(value));
    return {};
  };
}
std::function<Result<>(std::string_view)> into_number(u64& field) {
  return [&field](std::string_view value) -> Result<> {
    field = TRY(parse_number(value));
    return {};
  };
}

std::string format_named(std::string_view name) { return name == "vpc" ? "vhd" : std::string{name}; }

std::string format_for(std::string const& path) {
  if (image::is_url(path) && !image::holds_files(path)) return "raw";
  auto const name = image::is_url(path) ? path.substr(0, path.find('?')) : path;
  auto const dot = name.rfind('.');
  auto const ending = dot == std::string::npos ? std::string{} : name.substr(dot + 1);
  if (ending == "avhd" || ending == "vpc") return "vhd";
  if (ending == "avhdx") return "vhdx";
  return image::find_format(ending) != nullptr ? ending : "raw";
}

Result<image::CacheMode> parse_cache(std::string_view name) {
  using enum image::CacheMode;
  if (name == "writeback" || name.empty()) return writeback;
  if (name == "none" || name == "off") return none;
  if (name == "writethrough") return writethrough;
  if (name == "directsync") return directsync;
  if (name == "unsafe") return unsafe;
  return fail(Errc::invalid,
              fmt::format("cache mode '{}': writeback, none, writethrough, directsync or unsafe", name));
}

Result<> add_options(std::map<std::string, std::string>& options, std::string_view text) {
  while (!text.empty()) {
    auto word = std::string{};
    auto at = std::size_t{0};
    for (; at < text.size(); ++at) {
      if (text[at] != ',') {
        word += text[at];
      } else if (at + 1 < text.size() && text[at + 1] == ',') {
        word += ',';
        ++at;
      } else {
        break;
      }
    }
    text.remove_prefix(std::min(at + 1, text.size()));
    auto const equals = word.find('=');
    if (equals == 0 || word.empty()) return fail(Errc::invalid, fmt::format("'{}' is no option=value", word));
    options[word.substr(0, equals)] = equals == std::string::npos ? "on" : word.substr(equals + 1);
  }
  return {};
}

std::string human_size(u64 bytes) {
  static constexpr auto units = std::to_array<std::string_view>({"", "Ki", "Mi", "Gi", "Ti", "Pi", "Ei"});
  auto unit = std::size_t{0};
  // From 1000 of one unit on the next is used.
  while (unit + 1 < units.size() &&
         static_cast<double>(bytes) / std::pow(1024.0, static_cast<double>(unit)) >= 1000.0) {
    ++unit;
  }
  char number[32];
  std::snprintf(number, sizeof number, "%0.3g",
                static_cast<double>(bytes) / std::pow(1024.0, static_cast<double>(unit)));
  return fmt::format("{} {}B", number, units[unit]);
}

void remove_old_image(std::string const& path) {
  if (image::holds_files(path)) static_cast<void>(image::remove_backend(path));  // if there is one
  auto failure = std::error_code{};
  if (!std::filesystem::is_regular_file(path, failure)) return;
  auto const description = image::describe_image(path);
  std::filesystem::remove(path, failure);
  if (!description) return;
  for (auto const& file : description->files) std::filesystem::remove(file, failure);
}

ProgressLine::ProgressLine(ImageTool const& tool, bool wanted)
    : qemu_{tool.is_qemu()}, shown_{wanted || (!tool.is_qemu() && host::is_terminal(2))} {}

image::Report ProgressLine::report() {
  if (!shown_) return {};
  return [this](image::Progress const& progress) { print(progress); };
}

void ProgressLine::print(image::Progress const& progress) {
  auto const now = host::monotonic_ns();
  if (now - last_ < 100'000'000 && progress.done < progress.total) return;
  last_ = now;
  auto const part =
      progress.total == 0 ? 1.0 : static_cast<double>(progress.done) / static_cast<double>(progress.total);
  if (qemu_) {
    fmt::print("    ({:.2f}/100%)\r", part * 100);
    std::fflush(stdout);
    return;
  }
  auto const seconds = static_cast<double>(now - start_) / 1e9;
  auto const rate = seconds > 0 ? static_cast<double>(progress.done) / seconds : 0;
  auto const left = rate > 0 ? static_cast<double>(progress.total - progress.done) / rate : 0;
  auto const filled = static_cast<std::size_t>(part * 30);
  fmt::print(stderr, "\r[{}{}] {:5.1f} %  {}/s  {:.0f} s left \x1b[K", std::string(filled, '='),
             std::string(30 - filled, ' '), part * 100, human_size(static_cast<u64>(rate)), left);
  std::fflush(stderr);
}

void ProgressLine::finish() const {
  if (!shown_) return;
  if (qemu_) fmt::print("    (100.00/100%)\n");
  if (!qemu_) fmt::print(stderr, "\n");
}

}  // namespace vireo::cli
