#include <fmt/format.h>

#include <filesystem>

#include "cli/image_verbs.h"
#include "image/open_image.h"
#include "image/operations/create.h"
#include "image/operations/describe.h"
#include "image/operations/resize.h"
#include "vocab/units.h"

namespace vireo::cli {
namespace {

struct CreateWords {
  std::string format{};
  Words words{};
  Words options{};
  std::string backing{};
  std::string backing_format{};
  std::string preallocation{};
  bool unsafe{};
  bool quiet{};
};

Result<> create(ImageTool const& tool, CreateWords const& asked) {
  if (asked.words.empty()) return fail(Errc::invalid, "Expecting image file name");
  if (asked.words.size() > 2) {
    return fail(Errc::invalid, fmt::format("Unexpected argument: {}", asked.words[2]));
  }
  auto request = image::CreateRequest{.path = asked.words[0], .trust_backing = asked.unsafe};
  request.format = !asked.format.empty() ? format_named(asked.format)
                   : tool.is_qemu()      ? "raw"
                                         : format_for(request.path);
  // A new image over another is qcow2 when its name says nothing.
  if (asked.format.empty() && !tool.is_qemu() && request.format == "raw") request.format = "qcow2";
  for (auto const& each : asked.options) TRY(add_options(request.options, each));
  auto const take = [&](std::string const& name, std::string const& given) {
    auto node = request.options.extract(name);
    return node ? node.mapped() : given;
  };
  auto const size = take("size", asked.words.size() == 2 ? asked.words[1] : "");
  request.backing.path = take("backing_file", asked.backing);
  auto backing_format = format_named(take("backing_fmt", asked.backing_format));
  if (!request.backing.path.empty() && backing_format.empty() && !asked.unsafe) {
    auto const slash = request.path.rfind('/');
    auto const beside = request.backing.path.starts_with('/') || slash == std::string::npos
                            ? request.backing.path
                            : request.path.substr(0, slash + 1) + request.backing.path;
    auto const found = TRY(image::probe_format(beside));
    if (found == "raw" || tool.is_qemu()) {
      return fail(Errc::invalid,
                  fmt::format("{}: the backing file's format must be stated: -F {}; a raw file's "
                              "content can look like any",
                              request.path, found));
    }
    backing_format = found;
  }
  request.backing.format = backing_format;
  if (size.empty() && request.backing.path.empty()) {
    return fail(Errc::invalid, fmt::format("{}: Image creation needs a size parameter", request.path));
  }
  if (!size.empty()) request.bytes = TRY(parse_size(size));
  if (!asked.preallocation.empty())
    request.preallocation = TRY(image::parse_preallocation(asked.preallocation));
  if (tool.is_qemu()) {
    remove_old_image(request.path);
    if (auto const found = request.options.find("data_file"); found != request.options.end())
      remove_old_image((std::filesystem::path{request.path}.parent_path() / found->second).string());
  }
  TRY(image::create_image(request));
  if (tool.is_qemu() && !asked.quiet) {
    fmt::print("Formatting '{}', fmt={} size={}\n", request.path, tool.shown_format(request.format),
               request.bytes);
  }
  return {};
}

}  // namespace

int image_create(ImageTool const& tool, Arguments arguments) {
  auto asked = CreateWords{};
  auto ignored = std::string{};
  auto command = Command{
      .usage = "vireo image create [-f FORMAT] [-b BACKING -F FORMAT] [-o OPTION=VALUE,...] FILE [SIZE]",
      .summary = "Makes an empty disk image, or one over a backing file.",
      .options = {},
      .positional = into(asked.words)};
  command.options = {
      {"-f", "FORMAT", "raw, qcow2, vmdk, vhd, vhdx or vdi (by the file's name; else qcow2)",
       into(asked.format)},
      {"--format", "FORMAT", "the same", into(asked.format)},
      {"-b", "FILE", "read from this file what was not written", into(asked.backing)},
      {"-F", "FORMAT", "the backing file's format", into(asked.backing_format)},
      {"-o", "OPTION=VALUE,...", "the format's own options: cluster_size, subformat, ...", into(asked.options)},
      {"--preallocation", "off|metadata|falloc|full", "what gets its place at once", into(asked.preallocation)},
      {"-u", "", "do not look at the backing file", into(asked.unsafe)},
      {"-q", "", "say nothing", into(asked.quiet)},
  };
  auto const parsed = parse_tool(command, arguments);
  if (!parsed) return tool.failed(parsed.error());
  if (*parsed == Parsed::help_shown) return 0;
  return tool.failed(create(tool, asked));
}

int image_resize(ImageTool const& tool, Arguments arguments) {
  auto words = Words{};
  auto format = std::string{};
  auto preallocation = std::string{"off"};
  auto request = image::ResizeRequest{.follow_references = tool.follows()};
  auto quiet = false;
  auto command = Command{.usage = "vireo image resize [--shrink] [--preallocation P] FILE [+|-]SIZE",
                         .summary = "Makes a disk longer or shorter; what is new reads as zeroes.",
                         .options = {},
                         .positional = into(words)};
  command.options = {
      {"-f", "FORMAT", "the image's format (found by looking)", into(format)},
      {"--preallocation", "off|metadata|falloc|full", "of what is new", into(preallocation)},
      {"--shrink", "", "lose data behind the new end", into(request.shrink)},
      {"--follow-backing", "", "open the backing files that the image names", into(request.follow_references)},
      {"-q", "", "say nothing", into(quiet)}};
  auto const run = [&]() -> Result<bool> {
    // "-1G" is no option.
    auto plain = std::vector<char const*>{};
    auto relative = std::string{};
    for (auto const* each : arguments) {
      auto const word = std::string_view{each};
      auto const is_number = word.size() > 1 && word[0] == '-' && word[1] >= '0' && word[1] <= '9';
      if (is_number) relative = word;
      if (!is_number) plain.push_back(each);
    }
    if (TRY(parse_tool(command, plain)) == Parsed::help_shown) return false;
    if (!relative.empty()) words.push_back(relative);
    if (words.size() != 2) return fail(Errc::invalid, "Expecting image file name and size");
    request.path = words[0];
    request.format = format_named(format);
    request.preallocation = TRY(image::parse_preallocation(preallocation));
    auto const now = TRY(image::describe_image(request.path, request.format)).bytes;
    auto const sign = words[1][0];
    auto const amount = TRY(parse_size(std::string_view{words[1]}.substr(sign == '+' || sign == '-' ? 1 : 0)));
    if (sign == '-' && amount >= now) return fail(Errc::invalid, "New image size must be positive");
    request.bytes = sign == '+' ? now + amount : sign == '-' ? now - amount : amount;
    if (tool.is_qemu() && request.bytes < now && !request.shrink) {
      fmt::print(stderr,
                 "qemu-img: warning: Shrinking an image will delete all data beyond the shrunken image's end. "
                 "Before performing such an operation, make sure there is no important data there.\n");
      return fail(Errc::denied, "Use the --shrink option to perform a shrink operation.");
    }
    TRY(image::resize_image(request));
    return true;
  };
  auto const outcome = run();
  if (!outcome) return tool.failed(outcome.error());
  if (*outcome && !quiet) fmt::print("Image resized.\n");
  return 0;
}

}  // namespace vireo::cli
