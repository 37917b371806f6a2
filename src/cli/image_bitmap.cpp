#include <fmt/format.h>

#include <algorithm>
#include <array>

#include "cli/image_verbs.h"
#include "cli/json_text.h"
#include "image/operations/bitmap.h"

namespace vireo::cli {
namespace {

using Action = image::BitmapEdit::Action;
struct Word {
  std::string_view name;
  Action action;
};
constexpr auto actions =
    std::array{Word{"add", Action::add},       Word{"remove", Action::remove},   Word{"clear", Action::clear},
               Word{"enable", Action::enable}, Word{"disable", Action::disable}, Word{"merge", Action::merge}};

struct Asked {
  Words words{};
  std::string format{};
  std::string source_file{};
  std::string source_format{};
  std::string output{"human"};
  u64 granularity{};
  struct Step {
    Action action{};
    std::string source{};
  };
  std::vector<Step> steps{};
};

Result<> list(image::BitmapTarget const& target, std::string const& output) {
  auto const bitmaps = TRY(image::read_bitmaps(target));
  auto json = JsonText::array();
  if (output != "json" && !bitmaps.empty())
    fmt::print("{:<24}{:>12}{:>16}  {}\n", "NAME", "GRANULARITY", "DIRTY", "STATE");
  for (auto const& each : bitmaps) {
    auto const info = each.info();
    auto const state = info.inconsistent ? "out of date" : info.enabled ? "recording" : "disabled";
    if (output == "json") {
      json.add(JsonText::object()
                   .add("name", info.name)
                   .add("granularity", info.granularity)
                   .add("dirty-bytes", info.dirty_bytes)
                   .add("recording", info.enabled && !info.inconsistent)
                   .add("inconsistent", info.inconsistent));
    } else {
      fmt::print("{:<24}{:>12}{:>16}  {}\n", info.name, info.granularity,
                 info.inconsistent ? "-" : human_size(info.dirty_bytes), state);
    }
  }
  if (output == "json") fmt::print("{}\n", json.dump());
  return {};
}

/// "bitmap add IMAGE NAME", "bitmap merge IMAGE NAME SOURCE", "bitmap list IMAGE".
Result<> take_verb(Asked& asked) {
  auto const verb = asked.words.empty() ? std::string{} : asked.words.front();
  auto const found = std::ranges::find(actions, verb, &Word::name);
  auto const wanted = verb == "merge" ? std::size_t{4} : std::size_t{3};
  if (found == actions.end())
    return fail(Errc::invalid, fmt::format("'{}': list, add, remove, clear, enable, disable or merge", verb));
  if (asked.words.size() != wanted)
    return fail(Errc::invalid,
                fmt::format("{} needs IMAGE and NAME{}", verb, wanted == 4 ? " and SOURCE" : ""));
  asked.steps.push_back({found->action, wanted == 4 ? asked.words[3] : ""});
  asked.words = {asked.words[1], asked.words[2]};
  return {};
}

Result<> run_steps(ImageTool const& tool, Asked const& asked) {
  auto const target = image::BitmapTarget{asked.words[0], format_named(asked.format)};
  for (auto const& step : asked.steps) {
    auto const done =
        image::edit_bitmap(target, {.action = step.action,
                                    .name = asked.words[1],
                                    .granularity = asked.granularity,
                                    .source = step.source,
                                    .source_disk = {asked.source_file, format_named(asked.source_format)}});
    if (done) continue;
    if (!tool.is_qemu()) return done;
    auto const name = std::ranges::find(actions, step.action, &Word::action)->name;
    return fail(done.error().code(),
                fmt::format("Operation {} on bitmap {} failed: {}", name, asked.words[1], done.error().what()));
  }
  return {};
}

}  // namespace

int image_bitmap(ImageTool const& tool, Arguments arguments) {
  auto asked = Asked{};
  auto const step = [&](Action action) {
    return [&asked, action](std::string_view value) -> Result<> {
      asked.steps.push_back({action, std::string{value}});
      return {};
    };
  };
  auto command = Command{
      .usage =
          "vireo image bitmap list FILE | add|remove|clear|enable|disable FILE NAME | merge FILE NAME SOURCE",
      .summary =
          "Records which parts of a disk change. qcow2 holds bitmaps itself; for other formats they lie\n"
          "beside the image in FILE.bitmaps, which must travel with it.",
      .options = {},
      .positional = into(asked.words)};
  command.options = {{"--granularity", "BYTES", "of the disk for each bit (64K)", into_size(asked.granularity)},
                     {"-g", "BYTES", "the same", into_size(asked.granularity)},
                     {"-b", "FILE", "merge: the image that has the source", into(asked.source_file)},
                     {"-F", "FORMAT", "its format", into(asked.source_format)},
                     {"-f", "FORMAT", "the image's format (found by looking)", into(asked.format)},
                     {"--output", "human|json", "how to list", into(asked.output)},
                     {"--add", "", "as qemu-img: add", step(Action::add)},
                     {"--remove", "", "remove", step(Action::remove)},
                     {"--clear", "", "clear", step(Action::clear)},
                     {"--enable", "", "enable", step(Action::enable)},
                     {"--disable", "", "disable", step(Action::disable)},
                     {"--merge", "SOURCE", "merge", step(Action::merge)}};
  auto const run = [&]() -> Result<> {
    if (TRY(parse_tool(command, arguments)) == Parsed::help_shown) return {};
    auto const is_list = asked.words.size() == 2 && asked.words[0] == "list" && asked.steps.empty();
    if (is_list) return list({asked.words[1], format_named(asked.format)}, asked.output);
    if (asked.steps.empty() && !tool.is_qemu()) TRY(take_verb(asked));
    if (asked.words.size() != 2) return fail(Errc::invalid, "Expecting filename and bitmap name");
    if (asked.steps.empty()) {
      return fail(Errc::invalid,
                  "Need at least one of --add, --remove, --clear, --enable, --disable, or --merge");
    }
    return run_steps(tool, asked);
  };
  return tool.failed(run());
}

}  // namespace vireo::cli
