#include <fmt/format.h>

#include <algorithm>
#include <optional>

#include "cli/image_verbs.h"
#include "image/open_image.h"
#include "image/operations/copy_range.h"
#include "vocab/units.h"

namespace vireo::cli {
namespace {

struct DdWords {
  std::string input{};
  std::string output{};
  u64 block{512};
  u64 skip{};
  std::optional<u64> count{};
};

Result<DdWords> read_words(Words const& words) {
  auto read = DdWords{};
  for (auto const& word : words) {
    auto const equals = std::min(word.find('='), word.size());
    auto const name = word.substr(0, equals);
    auto const value = equals < word.size() ? word.substr(equals + 1) : std::string{};
    if (name == "if") read.input = value;
    if (name == "of") read.output = value;
    if (name == "bs") read.block = TRY(parse_size(value));
    if (name == "skip") read.skip = TRY(parse_size(value));
    if (name == "count") read.count = TRY(parse_size(value));
    if (name != "if" && name != "of" && name != "bs" && name != "skip" && name != "count")
      return fail(Errc::invalid, fmt::format("unrecognized operand '{}'", word));
  }
  if (read.input.empty() || read.output.empty())
    return fail(Errc::invalid, "Must specify both input and output file names");
  if (read.block == 0 || read.block > u64{1} << 31)
    return fail(Errc::invalid, fmt::format("invalid number: 'bs={}'", read.block));
  return read;
}

}  // namespace

/// As in qemu-img the count includes what is skipped.
int image_dd(ImageTool const& tool, Arguments arguments) {
  auto words = Words{};
  auto format = std::string{};
  auto target_format = std::string{};
  auto follow = tool.follows();
  auto shared = false;
  auto command = Command{.usage = "vireo image dd [-O FORMAT] [bs=SIZE] [skip=N] [count=N] if=FILE of=FILE",
                         .summary = "Copies a part of a disk into a new image.",
                         .options = {},
                         .positional = into(words)};
  command.options = {{"-f", "FORMAT", "the source's format (found by looking)", into(format)},
                     {"-O", "FORMAT", "the target's (raw)", into(target_format)},
                     {"--follow-backing", "", "open the backing files that the source names", into(follow)},
                     {"-U", "", "others may have the source open", into(shared)}};
  auto const run = [&]() -> Result<> {
    if (TRY(parse_tool(command, arguments)) == Parsed::help_shown) return {};
    auto const asked = TRY(read_words(words));
    auto const source = TRY(image::open_image(
        asked.input, {.format = format_named(format), .read_only = true, .follow_references = follow}));
    auto end = source->geometry().bytes;
    if (asked.count && *asked.count <= end / asked.block) end = *asked.count * asked.block;
    auto const start = asked.skip > end / asked.block ? end : asked.skip * asked.block;
    if (tool.is_qemu()) remove_old_image(asked.output);
    return image::copy_range(
        *source, start, end - start,
        {.path = asked.output, .format = target_format.empty() ? "raw" : format_named(target_format)});
  };
  return tool.failed(run());
}

}  // namespace vireo::cli
