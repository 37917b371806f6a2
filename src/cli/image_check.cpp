#include <fmt/format.h>

#include "cli/image_verbs.h"
#include "cli/json_text.h"
#include "image/open_image.h"
#include "image/operations/check.h"

namespace vireo::cli {
namespace {

// qemu-img's.
constexpr int exit_clean{0}, exit_error{1}, exit_corrupt{2}, exit_leaks{3}, exit_not_supported{63};

void print_json(ImageTool const& tool, image::CheckReport const& report, std::string const& path,
                std::string const& format) {
  auto json = JsonText::object();
  auto const blocks = report.total != 0;
  auto const add = [&](std::string_view key, u64 value) {
    if (value != 0) json.add(key, value);
  };
  if (blocks) json.add("image-end-offset", report.end).add("total-clusters", report.total);
  add("corruptions", report.corruptions - report.corruptions_fixed);
  add("leaks", report.leaks - report.leaks_fixed);
  add("corruptions-fixed", report.corruptions_fixed);
  add("leaks-fixed", report.leaks_fixed);
  json.add("check-errors", u64{0});
  add("allocated-clusters", report.allocated);
  add("fragmented-clusters", report.fragmented);
  add("compressed-clusters", report.compressed);
  json.add("filename", path).add("format", tool.shown_format(format));
  fmt::print("{}\n", json.dump());
}

void print_text(image::CheckReport const& report) {
  for (auto const& finding : report.findings) fmt::print("{}\n", finding);
  auto const corruptions = report.corruptions - report.corruptions_fixed;
  auto const leaks = report.leaks - report.leaks_fixed;
  if (report.corruptions_fixed + report.leaks_fixed != 0) {
    fmt::print(
        "The following inconsistencies were found and repaired:\n\n    {} leaked clusters\n    {} "
        "corruptions\n\nDouble checking the fixed image now...\n",
        report.leaks_fixed, report.corruptions_fixed);
  }
  if (corruptions != 0) {
    fmt::print(
        "\n{} errors were found on the image.\nData may be corrupted, or further writes to the image may "
        "corrupt it.\n",
        corruptions);
  }
  if (leaks != 0) {
    fmt::print(
        "\n{} leaked clusters were found on the image.\nThis means waste of disk space, but no harm to data.\n",
        leaks);
  }
  if (corruptions + leaks == 0) fmt::print("No errors were found on the image.\n");
  if (report.total == 0) return;
  auto const percent = [](u64 part, u64 whole) {
    return whole == 0 ? 0.0 : static_cast<double>(part) * 100 / static_cast<double>(whole);
  };
  fmt::print("{}/{} = {:.2f}% allocated, {:.2f}% fragmented, {:.2f}% compressed clusters\n", report.allocated,
             report.total, percent(report.allocated, report.total),
             percent(report.fragmented, report.allocated), percent(report.compressed, report.allocated));
  fmt::print("Image end offset: {}\n", report.end);
}

}  // namespace

int image_check(ImageTool const& tool, Arguments arguments) {
  auto words = Words{};
  auto format = std::string{};
  auto output = std::string{"human"};
  auto mend = std::string{};
  auto quiet = false;
  auto shared = false;
  auto cache = std::string{};
  auto command =
      Command{.usage = "vireo image check [-r leaks|all] [--output human|json] FILE",
              .summary =
                  "Looks for lost space and damage in an image's tables. Exit status: 0 clean, 2 damage,\n"
                  "3 lost space, 63 not a format with tables, 1 other errors.",
              .options = {},
              .positional = into(words)};
  command.options = {{"-f", "FORMAT", "the image's format (found by looking)", into(format)},
                     {"-r", "leaks|all", "mend lost space, or damage too", into(mend)},
                     {"--repair", "leaks|all", "the same", into(mend)},
                     {"--output", "human|json", "how to print", into(output)},
                     {"-T", "CACHE", "taken and not used", into(cache)},
                     {"-q", "", "print errors only", into(quiet)},
                     {"-U", "", "others may have it open", into(shared)}};
  auto const parsed = parse_tool(command, arguments);
  if (!parsed) return tool.failed(parsed.error());
  if (*parsed == Parsed::help_shown) return exit_clean;
  if (words.size() != 1) return tool.failed(Error{Errc::invalid, "Expecting one image file name"});
  if (!mend.empty() && mend != "leaks" && mend != "all") {
    return tool.failed(Error{Errc::invalid, "-r expects \"leaks\" or \"all\""});
  }
  auto const repair = mend == "all"     ? image::Repair::all
                      : mend == "leaks" ? image::Repair::leaks
                                        : image::Repair::none;
  auto name = format_named(format);
  if (name.empty()) {
    auto const found = image::probe_format(words[0]);
    if (!found) return tool.failed(found.error());
    name = *found;
  }
  if (name == "raw") {
    fmt::print(stderr, "{}: This image format does not support checks\n", tool.name);
    return exit_not_supported;
  }
  auto const report = image::check_image(words[0], name, repair);
  if (!report) {
    tool.failed(report.error());
    return report.error().code() == Errc::corrupt ? exit_corrupt : exit_error;
  }
  if (output == "json") print_json(tool, *report, words[0], name);
  if (output != "json" && !quiet) print_text(*report);
  if (report->corruptions > report->corruptions_fixed) return exit_corrupt;
  return report->leaks > report->leaks_fixed ? exit_leaks : exit_clean;
}

}  // namespace vireo::cli
