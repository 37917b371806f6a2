#include <fmt/format.h>

#include "cli/image_verbs.h"
#include "image/operations/amend.h"

namespace vireo::cli {

int image_amend(ImageTool const& tool, Arguments arguments) {
  auto words = Words{};
  auto options = Words{};
  auto format = std::string{};
  auto ignored = std::string{};
  auto flag = false;
  auto force = false;
  auto command = Command{
      .usage = "vireo image amend -o OPTION=VALUE,... FILE",
      .summary =
          "Changes the options of a qcow2 image (compat, lazy_refcounts, size, backing_file) and the keys of\n"
          "an encrypted one (state=active|inactive|changed; in qcow2 encrypt.state).",
      .options = {},
      .positional = into(words)};
  command.options = {{"-o", "OPTION=VALUE,...", "what is to be different", into(options)},
                     {"-f", "FORMAT", "the image's format (found by looking)", into(format)},
                     {"-t", "CACHE", "taken and not used", into(ignored)},
                     {"-p", "", "taken and not used", into(flag)},
                     {"-q", "", "say nothing", into(flag)},
                     {"--force", "", "remove the last key too", into(force)},
                     {"--key-file", "FILE", "a passphrase that opens it", into(ignored)},
                     {"--new-key-file", "FILE", "the passphrase that it is to get", into(ignored)}};
  auto const run = [&]() -> Result<> {
    if (TRY(parse_tool(command, arguments)) == Parsed::help_shown) return {};
    if (words.size() != 1) return fail(Errc::invalid, "Expecting one image file name");
    if (options.empty()) return fail(Errc::invalid, "Must specify options (-o)");
    auto request = image::AmendRequest{
        .path = words[0], .format = format_named(format), .follow_references = tool.follows(), .force = force};
    for (auto const& each : options) TRY(add_options(request.options, each));
    return image::amend_image(request);
  };
  return tool.failed(run());
}

}  // namespace vireo::cli
