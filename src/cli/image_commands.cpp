#include "cli/image_commands.h"

#include <fmt/format.h>
#include <sys/stat.h>

#include <algorithm>
#include <array>
#include <cstdio>
#include <filesystem>
#include <map>

#include "cli/image_arguments.h"
#include "cli/image_tool.h"
#include "cli/json_text.h"
#include "cli/options.h"
#include "host/clock.h"
#include "host/terminal.h"
#include "machine/debian_build.h"
#include "machine/image_store.h"
#include "vocab/units.h"

namespace vireo::cli {
namespace {

using machine::ImageStore;
using machine::StoredImage;

u64 bytes_on_disk(std::string const& path) {
  struct stat status{};
  return ::stat(path.c_str(), &status) == 0 ? static_cast<u64>(status.st_blocks) * 512 : 0;
}
u64 disk_size(std::string const& path) {
  auto error = std::error_code{};
  auto const size = std::filesystem::file_size(path, error);
  return error ? 0 : size;
}

std::string short_size(u64 bytes) {
  return bytes >= GiB ? fmt::format("{:.1f}GiB", static_cast<double>(bytes) / static_cast<double>(GiB))
                      : fmt::format("{}MiB", (bytes + MiB - 1) / MiB);
}

/// One line that changes on a terminal, nothing elsewhere.
class Progress {
 public:
  void operator()(std::string_view step) {
    if (!terminal_) return;
    auto const seconds = (host::monotonic_ns() - start_) / 1'000'000'000;
    fmt::print(stderr, "\r\x1b[K[{:3}s] {:.100}", seconds, step);
    std::fflush(stderr);
  }
  void finish() const {
    if (terminal_) fmt::print(stderr, "\r\x1b[K");
  }

 private:
  bool terminal_{host::is_terminal(2)};
  u64 start_{host::monotonic_ns()};
};

Result<std::string> read_ssh_key(std::string const& path) {
  auto key = TRY(host::read_text(path, 65536));
  while (key.ends_with('\n')) key.pop_back();
  auto const is_public = key.starts_with("ssh-") || key.starts_with("ecdsa-") || key.starts_with("sk-");
  if (is_public) return key;
  return fail(Errc::invalid, fmt::format("{}: no public SSH key; name the file that ends in .pub", path));
}

Result<> build(Arguments arguments) {
  auto request = machine::DebianBuild{};
  auto system = std::string{};
  auto key_path = std::string{};
  auto name = std::string{};
  auto command = Command{.usage = "vireo image build debian [OPTION]...",
                         .summary = "Builds a bootable Debian from this host's mirror; root is not needed.",
                         .options = {},
                         .positional = into(system)};
  command.options = {
      {"--release", "12|13", "Debian release (12)", into(request.release)},
      {"--size", "SIZE", "disk size; the file is sparse (4GiB)", into_size(request.size)},
      {"--package", "P", "install this too; may be repeated", into(request.packages)},
      {"--ssh-key", "FILE.pub", "let this key log in as root", into(key_path)},
      {"--root-password", "P", "root's password (vireo)", into(request.root_password)},
      {"-o", "NAME", "name in the image store (debian)", into(request.name)},
  };
  if (TRY(parse(command, arguments)) == Parsed::help_shown) return {};
  if (system != "debian") return fail(Errc::invalid, "what can be built: vireo image build debian");
  if (!key_path.empty()) request.ssh_key = TRY(read_ssh_key(key_path));
  auto progress = Progress{};
  auto const image = build_debian(ImageStore{}, request, [&](std::string_view step) { progress(step); });
  progress.finish();
  TRY(image);
  fmt::print("{}: {} in {}; log in as root with password {}\nstart it: vireo run {}\n", image->name,
             image->release, std::filesystem::path{image->disk}.parent_path().string(), request.root_password,
             image->name);
  return {};
}

Result<> list(Arguments arguments) {
  auto format = std::string{"table"};
  auto command = Command{.usage = "vireo image list [--format table|json|name]",
                         .summary = "Lists the images of the store.",
                         .options =
                             {
                                 {"--format", "table|json|name", "how to print (table)", into(format)},
                             },
                         .positional = {}};
  if (TRY(parse(command, arguments)) == Parsed::help_shown) return {};
  if (format != "table" && format != "json" && format != "name") {
    return fail(Errc::invalid, fmt::format("--format {}: table, json or name", format));
  }
  auto const images = TRY(ImageStore{}.list());
  if (format == "table") fmt::print("{:<20} {:<18} {:>9} {:>9}\n", "NAME", "RELEASE", "SIZE", "ON DISK");
  if (format == "json") fmt::print("[");
  auto separator = "";
  for (auto const& each : images) {
    auto const size = disk_size(each.disk);
    auto const used = bytes_on_disk(each.disk);
    if (format == "name") fmt::print("{}\n", each.name);
    if (format == "table")
      fmt::print("{:<20} {:<18} {:>9} {:>9}\n", each.name, each.release, short_size(size), short_size(used));
    if (format == "json") {
      fmt::print("{}\n  {{\"name\": {}, \"release\": {}, \"disk\": {}, \"size\": {}, \"allocated\": {}}}",
                 separator, JsonText::quoted(each.name), JsonText::quoted(each.release),
                 JsonText::quoted(each.disk), size, used);
    }
    separator = ",";
  }
  if (format == "json") fmt::print("\n]\n");
  return {};
}

Result<> remove(Arguments arguments) {
  auto names = std::vector<std::string>{};
  auto command = Command{.usage = "vireo image rm NAME...",
                         .summary = "Removes images from the store.",
                         .options = {},
                         .positional = into(names)};
  if (TRY(parse(command, arguments)) == Parsed::help_shown) return {};
  if (names.empty()) return fail(Errc::invalid, "which image? vireo image list shows them");
  for (auto const& name : names) {
    TRY(ImageStore{}.remove(name));
    fmt::print("removed {}\n", name);
  }
  return {};
}

Result<> path(Arguments arguments) {
  auto words = std::vector<std::string>{};
  auto command = Command{.usage = "vireo image path NAME [disk|kernel|initrd|folder]",
                         .summary = "Prints where a file of an image lies.",
                         .options = {},
                         .positional = into(words)};
  if (TRY(parse(command, arguments)) == Parsed::help_shown) return {};
  if (words.empty() || words.size() > 2) return fail(Errc::invalid, command.usage.data());
  auto const image = TRY(ImageStore{}.find(words[0]));
  auto const places = std::map<std::string, std::string>{{"disk", image.disk},
                                                         {"kernel", image.kernel},
                                                         {"initrd", image.initrd},
                                                         {"folder", ImageStore{}.folder_of(image.name)}};
  auto const wanted = places.find(words.size() == 2 ? words[1] : "disk");
  if (wanted == places.end())
    return fail(Errc::invalid, fmt::format("'{}': disk, kernel, initrd or folder", words[1]));
  fmt::print("{}\n", wanted->second);
  return {};
}

struct Verb {
  std::string_view name;
  std::string_view help;
  Result<> (*run)(Arguments);
};
constexpr auto verbs = std::array{
    Verb{"build", "build a Debian guest image", build},
    Verb{"list", "list the images of the store", list},
    Verb{"path", "print where an image's files lie", path},
    Verb{"rm", "remove images", remove},
};

void print_help() {
  fmt::print("usage: vireo image VERB [ARGUMENT]...\n\n");
  fmt::print("images of the store:\n");
  for (auto const& verb : verbs) fmt::print("  {:<10} {}\n", verb.name, verb.help);
  fmt::print("\ndisk files, in any format:\n{}", image_verb_help());
}

}  // namespace

int image_command(Arguments arguments) {
  auto const name = arguments.empty() ? std::string_view{"--help"} : std::string_view{arguments.front()};
  if (name == "--help" || name == "-h") {
    print_help();
    return arguments.empty() ? exit_bad_configuration : 0;
  }
  if (auto const verb = find_image_verb(name)) {
    auto const tool = ImageTool{.style = Style::vireo, .name = fmt::format("vireo: image {}", name)};
    auto const taken = ImageArguments::take(arguments.subspan(1));
    return taken ? verb(tool, taken->rest()) : tool.failed(taken.error());
  }
  auto const found = std::ranges::find(verbs, name, &Verb::name);
  if (found == verbs.end()) {
    auto names = image_verb_names();
    for (auto const& verb : verbs) names.push_back(verb.name);
    auto const near = nearest(name, names);
    return report(Error{Errc::invalid,
                        near.empty() ? fmt::format("image: no verb '{}'; vireo image --help", name)
                                     : fmt::format("image: no verb '{}'; did you mean '{}'?", name, near)});
  }
  auto const outcome = found->run(arguments.subspan(1));
  if (outcome) return 0;
  auto const is_usage = outcome.error().code() == Errc::invalid;
  report(outcome.error());
  return is_usage ? exit_bad_configuration : 1;
}

}  // namespace vireo::cli
