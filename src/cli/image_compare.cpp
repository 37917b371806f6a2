#include <fmt/format.h>

#include "cli/image_verbs.h"
#include "cli/json_text.h"
#include "image/open_image.h"
#include "image/operations/compare.h"

namespace vireo::cli {
namespace {

constexpr int exit_equal{0}, exit_different{1}, exit_trouble{2};

}  // namespace

int image_compare(ImageTool const& tool, Arguments arguments) {
  auto words = Words{};
  auto first = std::string{};
  auto second = std::string{};
  auto cache = std::string{};
  auto strict = false;
  auto shown = false;
  auto quiet = false;
  auto shared = false;
  auto follow = tool.follows();
  auto command = Command{.usage = "vireo image compare [-s] [-f FORMAT] [-F FORMAT] ONE OTHER",
                         .summary = "Compares two disks' content. Exit status: 0 equal, 1 different, 2 errors.",
                         .options = {},
                         .positional = into(words)};
  command.options = {{"-f", "FORMAT", "the first image's format (found by looking)", into(first)},
                     {"-F", "FORMAT", "the second image's", into(second)},
                     {"-T", "CACHE", "taken and not used", into(cache)},
                     {"-s", "", "sizes must be equal too", into(strict)},
                     {"--follow-backing", "", "open the backing files that the images name", into(follow)},
                     {"-p", "", "show how far it is", into(shown)},
                     {"-q", "", "say nothing", into(quiet)},
                     {"-U", "", "others may have them open", into(shared)}};
  auto const run = [&]() -> Result<int> {
    if (TRY(parse_tool(command, arguments)) == Parsed::help_shown) return exit_equal;
    if (words.size() != 2) return fail(Errc::invalid, "Expecting two image file names");
    auto const open = [&](std::string const& path, std::string const& format) {
      auto const name = format_named(format);
      return image::open_image(path, {.format = name, .read_only = true, .follow_references = follow});
    };
    auto const one = TRY(open(words[0], first));
    auto const other = TRY(open(words[1], second));
    auto const sizes_differ = one->geometry().bytes != other->geometry().bytes;
    if (sizes_differ && strict) {
      if (!quiet) fmt::print("Strict mode: Image size mismatch!\n");
      return exit_different;
    }
    auto progress = ProgressLine{tool, shown && !quiet};
    auto const result = TRY(image::compare_disks(*one, *other, progress.report()));
    progress.finish();
    if (sizes_differ && !quiet) {
      tool.is_qemu()
          ? fmt::print("Warning: Image size mismatch!\n")
          : fmt::print("The sizes differ: {} and {} bytes; what one has more is compared with zeroes.\n",
                       one->geometry().bytes, other->geometry().bytes);
    }
    if (!result.equal && !quiet) fmt::print("Content mismatch at offset {}!\n", result.offset);
    if (result.equal && !quiet) fmt::print("Images are identical.\n");
    return result.equal ? exit_equal : exit_different;
  };
  auto const outcome = run();
  if (outcome) return *outcome;
  tool.failed(outcome.error());
  return exit_trouble;
}

int image_measure(ImageTool const& tool, Arguments arguments) {
  auto words = Words{};
  auto options_text = Words{};
  auto format = std::string{};
  auto target = std::string{tool.is_qemu() ? "raw" : "qcow2"};
  auto output = std::string{"human"};
  auto snapshot = std::string{};
  auto size = u64{0};
  auto follow = tool.follows();
  auto shared = false;
  auto command = Command{.usage = "vireo image measure [-O FORMAT] [--size SIZE | FILE]",
                         .summary = "Tells how much space an image will take: at once, and when it is full.",
                         .options = {},
                         .positional = into(words)};
  command.options = {{"-f", "FORMAT", "the image's format (found by looking)", into(format)},
                     {"-O", "FORMAT", "the format to be made", into(target)},
                     {"-o", "OPTION=VALUE,...", "its options", into(options_text)},
                     {"--size", "SIZE", "of an empty disk", into_size(size)},
                     {"-l", "SNAPSHOT", "the image as it was then", into(snapshot)},
                     {"--output", "human|json", "how to print", into(output)},
                     {"--follow-backing", "", "open the backing files that the image names", into(follow)},
                     {"-U", "", "others may have it open", into(shared)}};
  auto const run = [&]() -> Result<> {
    if (TRY(parse_tool(command, arguments)) == Parsed::help_shown) return {};
    if (words.size() > 1) return fail(Errc::invalid, "At most one filename argument is allowed.");
    if (words.empty() == (size == 0))
      return fail(Errc::invalid, "Either --size N or one filename must be specified.");
    auto source = std::unique_ptr<image::BlockImage>{};
    auto const name = format_named(format);
    if (!words.empty()) {
      source = TRY(image::open_image(
          words[0], {.format = name, .read_only = true, .follow_references = follow, .snapshot = snapshot}));
    }
    auto request = image::MeasureRequest{.format = format_named(target),
                                         .bytes = source ? source->geometry().bytes : size,
                                         .source = source.get()};
    // qemu-img speaks of bitmaps where both could hold some.
    auto const source_format = !name.empty() || words.empty() ? name : TRY(image::probe_format(words[0]));
    auto const has_bitmaps = source_format == "qcow2" && request.format == "qcow2";
    auto options = std::map<std::string, std::string>{};
    for (auto const& each : options_text) TRY(add_options(options, each));
    if (options.contains("cluster_size")) TRY(into_size(request.cluster)(options["cluster_size"]));
    if (options.contains("refcount_bits")) TRY(into_number(request.refcount_bits)(options["refcount_bits"]));
    auto const result = TRY(image::measure_image(request));
    if (output == "json") {
      auto json = JsonText::object();
      if (has_bitmaps) json.add("bitmaps", u64{0});
      json.add("required", result.required).add("fully-allocated", result.fully_allocated);
      fmt::print("{}\n", json.dump());
      return {};
    }
    fmt::print("required size: {}\nfully allocated size: {}\n", result.required, result.fully_allocated);
    if (tool.is_qemu() && has_bitmaps) fmt::print("bitmaps size: 0\n");
    return {};
  };
  return tool.failed(run());
}

}  // namespace vireo::cli
