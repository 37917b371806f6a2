#include <fmt/format.h>

#include "cli/image_verbs.h"
#include "cli/json_text.h"
#include "image/open_image.h"
#include "image/operations/bitmap.h"
#include "image/operations/layers.h"

namespace vireo::cli {
namespace {

void print_map(std::vector<image::MapEntry> const& entries) {
  fmt::print("{:<16}{:<16}{:<16}{}\n", "Offset", "Length", "Mapped to", "File");
  for (auto const& each : entries) {
    if (!each.data || !each.offset) continue;
    auto const hexadecimal = [](u64 value) {
      return value == 0 ? std::string{"0"} : fmt::format("{:#x}", value);
    };
    fmt::print("{:<16}{:<16}{:<16}{}\n", hexadecimal(each.start), hexadecimal(each.length),
               hexadecimal(*each.offset), each.file);
  }
}

void print_map_json(std::vector<image::MapEntry> const& entries) {
  auto separator = "[";
  for (auto const& each : entries) {
    fmt::print("{}{{ \"start\": {}, \"length\": {}, \"depth\": {}, \"present\": {}, \"zero\": {}, \"data\": {}",
               separator, each.start, each.length, each.depth, each.present, each.zero, each.data);
    if (each.offset) fmt::print(", \"offset\": {}", *each.offset);
    fmt::print("}}");
    separator = ",\n";
  }
  fmt::print("{}]\n", entries.empty() ? "[" : "");
}

std::vector<image::MapEntry> cut(std::vector<image::MapEntry> const& entries, u64 start, u64 length) {
  auto const end = length > ~start ? ~u64{0} : start + length;
  auto inside = std::vector<image::MapEntry>{};
  for (auto each : entries) {
    auto const from = std::max(each.start, start);
    auto const to = std::min(each.start + each.length, end);
    if (from >= to) continue;
    if (each.offset) *each.offset += from - each.start;
    each.start = from;
    each.length = to - from;
    inside.push_back(std::move(each));
  }
  return inside;
}

Result<> print_dirty(image::BitmapTarget const& target, std::string const& name, bool json) {
  auto const bitmap = TRY(image::read_bitmap(target, name));
  auto separator = "[";
  if (!json) fmt::print("{:<16}{:<16}\n", "Offset", "Length");
  for (auto const& each : bitmap.ranges()) {
    if (!json) fmt::print("{:<#16x}{:<#16x}\n", each.start, each.length);
    if (json) fmt::print("{}{{ \"start\": {}, \"length\": {} }}", separator, each.start, each.length);
    separator = ",\n";
  }
  if (json) fmt::print("{}]\n", bitmap.ranges().empty() ? "[" : "");
  return {};
}

std::unexpected<Error> follow_needed(std::string const& path) {
  return fail(Errc::denied, fmt::format("{}: commit writes to the file that the image names; allow it with "
                                        "--follow-backing",
                                        path));
}

}  // namespace

int image_commit(ImageTool const& tool, Arguments arguments) {
  auto words = Words{};
  auto format = std::string{};
  auto cache = std::string{};
  auto request = image::CommitRequest{};
  auto follow = tool.follows();
  auto shown = false;
  auto quiet = false;
  auto command = Command{.usage = "vireo image commit --follow-backing [-b BASE] [-d] FILE",
                         .summary = "Brings what an image holds into the image behind it, and empties it.",
                         .options = {},
                         .positional = into(words)};
  command.options = {{"-f", "FORMAT", "the image's format (found by looking)", into(format)},
                     {"-b", "BASE", "into this one of the images behind it", into(request.base)},
                     {"-d", "", "do not empty the image", into(request.keep)},
                     {"-t", "CACHE", "taken and not used", into(cache)},
                     {"-r", "RATE", "taken and not used", into(cache)},
                     {"--follow-backing", "", "open the backing files that the image names", into(follow)},
                     {"-p", "", "show how far it is", into(shown)},
                     {"-q", "", "say nothing", into(quiet)}};
  auto const run = [&]() -> Result<bool> {
    if (TRY(parse_tool(command, arguments)) == Parsed::help_shown) return false;
    if (words.size() != 1) return fail(Errc::invalid, "Expecting one image file name");
    if (!follow) return follow_needed(words[0]);
    request.path = words[0];
    request.format = format_named(format);
    auto progress = ProgressLine{tool, shown && !quiet};
    auto const outcome = image::commit_image(request, progress.report());
    progress.finish();
    TRY(outcome);
    return true;
  };
  auto const outcome = run();
  if (!outcome) return tool.failed(outcome.error());
  if (*outcome && !quiet) fmt::print("Image committed.\n");
  return 0;
}

int image_rebase(ImageTool const& tool, Arguments arguments) {
  auto words = Words{};
  auto format = std::string{};
  auto backing_format = std::string{};
  auto cache = std::string{};
  auto request = image::RebaseRequest{.follow_references = tool.follows()};
  auto named = false;
  auto shown = false;
  auto quiet = false;
  auto shared = false;
  auto command = Command{
      .usage = "vireo image rebase [-u] -b BACKING [-F FORMAT] FILE",
      .summary = "Puts another image behind an image; the disk stays what it is. -b '': none behind it.",
      .options = {},
      .positional = into(words)};
  command.options = {
      {"-f", "FORMAT", "the image's format (found by looking)", into(format)},
      {"-b", "FILE", "the new backing file, seen from the image",
       [&](std::string_view value) -> Result<> {
         request.backing.path = value;
         named = true;
         return {};
       }},
      {"-F", "FORMAT", "its format", into(backing_format)},
      {"-u", "", "change the name only: it holds what the old one did", into(request.unsafe)},
      {"-t", "CACHE", "taken and not used", into(cache)},
      {"-T", "CACHE", "taken and not used", into(cache)},
      {"--follow-backing", "", "open the backing files that the image names", into(request.follow_references)},
      {"-p", "", "show how far it is", into(shown)},
      {"-q", "", "say nothing", into(quiet)},
      {"-U", "", "others may have it open", into(shared)}};
  auto const run = [&]() -> Result<> {
    if (TRY(parse_tool(command, arguments)) == Parsed::help_shown) return {};
    if (words.size() != 1) return fail(Errc::invalid, "Expecting one image file name");
    if (!named) return fail(Errc::invalid, "Must specify backing file (-b) or use simple rebase mode (-u)");
    request.path = words[0];
    request.format = format_named(format);
    request.backing.format = format_named(backing_format);
    if (!request.backing.path.empty() && request.backing.format.empty()) {
      auto const slash = request.path.rfind('/');
      auto const beside = request.backing.path.starts_with('/') || slash == std::string::npos
                              ? request.backing.path
                              : request.path.substr(0, slash + 1) + request.backing.path;
      auto const found = image::probe_format(beside);
      // Without -F a raw file could claim to be anything.
      if (found && *found == "raw")
        return fail(Errc::invalid, "the backing file's format must be stated: -F raw");
      if (found) request.backing.format = *found;
    }
    auto progress = ProgressLine{tool, shown && !quiet};
    auto const outcome = image::rebase_image(request, progress.report());
    progress.finish();
    return outcome;
  };
  return tool.failed(run());
}

int image_map(ImageTool const& tool, Arguments arguments) {
  auto words = Words{};
  auto format = std::string{};
  auto output = std::string{"human"};
  auto follow = tool.follows();
  auto shared = false;
  auto start = u64{0};
  auto length = ~u64{0};
  auto bitmap = std::string{};
  auto command =
      Command{.usage = "vireo image map [--output human|json] [--follow-backing] FILE",
              .summary = "Shows where each part of a disk lies; of the image alone, or with what is behind it.",
              .options = {},
              .positional = into(words)};
  command.options = {{"-f", "FORMAT", "the image's format (found by looking)", into(format)},
                     {"--output", "human|json", "how to print", into(output)},
                     {"--bitmap", "NAME", "what this dirty bitmap says has changed", into(bitmap)},
                     {"-s", "OFFSET", "from here on", into_size(start)},
                     {"--start-offset", "OFFSET", "the same", into_size(start)},
                     {"-l", "LENGTH", "so much of it", into_size(length)},
                     {"--max-length", "LENGTH", "the same", into_size(length)},
                     {"--follow-backing", "", "open the backing files that the image names", into(follow)},
                     {"-U", "", "others may have it open", into(shared)}};
  auto const run = [&]() -> Result<> {
    if (TRY(parse_tool(command, arguments)) == Parsed::help_shown) return {};
    if (words.size() != 1) return fail(Errc::invalid, "Expecting one image file name");
    if (!bitmap.empty()) return print_dirty({words[0], format_named(format)}, bitmap, output == "json");
    auto const entries = cut(TRY(image::map_image(words[0], format_named(format), follow)), start, length);
    output == "json" ? print_map_json(entries) : print_map(entries);
    return {};
  };
  return tool.failed(run());
}

}  // namespace vireo::cli
