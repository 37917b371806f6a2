#include "cli/qemu_img.h"

#include <fmt/format.h>

#include "cli/image_arguments.h"

namespace vireo::cli {
namespace {

// Scripts read the number to know what they may ask for.
constexpr std::string_view version{"qemu-img version 7.2.0 (vireo)"};

}  // namespace

Program program_named(std::string_view called_as) {
  auto const name = called_as.substr(called_as.rfind('/') + 1);
  if (name == "qemu-img") return qemu_img;
  if (name == "qemu-io") return qemu_io;
  if (name == "qemu-nbd") return qemu_nbd;
  return nullptr;
}

int qemu_img(Arguments arguments) {
  auto const word = arguments.empty() ? std::string_view{} : std::string_view{arguments.front()};
  if (word == "--help" || word == "-h") {
    fmt::print("{}\nusage: qemu-img COMMAND [ARGUMENT]...\n\nCommands:\n{}", version, image_verb_help());
    fmt::print("\nSupported formats: qcow2 raw vdi vhdx vmdk vpc\n");
    return 0;
  }
  if (word == "--version" || word == "-V") {
    fmt::print("{}\n", version);
    return 0;
  }
  if (arguments.empty()) {
    fmt::print(stderr, "qemu-img: Not enough arguments\nTry 'qemu-img --help' for more information\n");
    return 1;
  }
  if (auto const verb = find_image_verb(word)) {
    auto const tool = ImageTool{.style = Style::qemu, .name = "qemu-img"};
    auto const taken = ImageArguments::take(arguments.subspan(1));
    return taken ? verb(tool, taken->rest()) : tool.failed(taken.error());
  }
  fmt::print(stderr, "qemu-img: Command not found: {}\nTry 'qemu-img --help' for more information\n", word);
  return 1;
}

}  // namespace vireo::cli
