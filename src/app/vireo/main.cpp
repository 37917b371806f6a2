// The command line: vireo VERB [ARGUMENT]...
#include <fmt/format.h>

#include <array>
#include <cstdio>
#include <span>
#include <string_view>
#include <vector>

#include "cli/appliance_commands.h"
#include "cli/export_command.h"
#include "cli/image_commands.h"
#include "cli/machine_commands.h"
#include "cli/pool_commands.h"
#include "cli/qemu_img.h"
#include "cli/run_command.h"
#include "vocab/units.h"

namespace {

using namespace vireo;
using Arguments = std::span<char const* const>;

constexpr std::string_view version{"0.1.0"};

struct Verb {
  std::string_view name;
  std::string_view help;
  int (*run)(Arguments);
};

int print_version(Arguments) {
  fmt::print("vireo {}\n", version);
  return 0;
}
int print_help(Arguments);

constexpr std::array verbs{
    Verb{"run", "run a virtual machine in the foreground", cli::run_command},
    Verb{"ps", "list the machines that run", cli::ps_command},
    Verb{"status", "print how a machine stands", cli::status_command},
    Verb{"pause", "let a machine stand still", cli::pause_command},
    Verb{"resume", "let a paused machine go on", cli::resume_command},
    Verb{"reset", "reset a machine", cli::reset_command},
    Verb{"stop", "ask a machine's guest to shut down", cli::stop_command},
    Verb{"kill", "end a machine at once", cli::kill_command},
    Verb{"events", "print what happened to a machine", cli::events_command},
    Verb{"screen", "print what a machine shows", cli::screen_command},
    Verb{"screenshot", "take a picture of what a machine shows", cli::screenshot_command},
    Verb{"key", "press keys of a machine", cli::key_command},
    Verb{"type", "type text into a machine", cli::type_command},
    Verb{"disk", "look after the disks of a machine that runs", cli::disk_command},
    Verb{"job", "look after the jobs on these disks", cli::job_command},
    Verb{"image", "build, list and remove guest images", cli::image_command},
    Verb{"export", "serve a disk over the network", cli::export_command},
    Verb{"import", "bring a machine from an OVA or OVF file", cli::import_command},
    Verb{"vm-export", "write a machine as an OVA or OVF file", cli::vm_export_command},
    Verb{"pool", "make, list and forget storage pools", cli::pool_command},
    Verb{"volume", "make, list, resize and delete the disks of pools", cli::volume_command},
    Verb{"version", "print the version", print_version},
    Verb{"help", "print this", print_help},
};

int print_help(Arguments) {
  fmt::print("usage: vireo VERB [ARGUMENT]...\n\n");
  for (auto const& verb : verbs) fmt::print("  {:<10} {}\n", verb.name, verb.help);
  fmt::print("\n'vireo VERB --help' tells more.\n");
  return 0;
}

}  // namespace

int main(int count, char** arguments) {
  auto const words = std::span<char const* const>{arguments, static_cast<std::size_t>(count)}.subspan(1);
  if (auto const program = cli::program_named(arguments[0])) return program(words);
  if (words.empty()) return print_help({});
  auto const wanted = std::string_view{words[0]};
  if (wanted == "--help" || wanted == "-h") return print_help({});
  if (wanted == "--version") return print_version({});
  auto names = std::vector<std::string_view>{};
  for (auto const& verb : verbs) {
    if (verb.name == wanted) return verb.run(words.subspan(1));
    names.push_back(verb.name);
  }
  auto const hint = nearest(wanted, names);
  fmt::print(stderr, "vireo: unknown verb '{}'{}\n", wanted,
             hint.empty() ? "; 'vireo help' lists them" : fmt::format("; did you mean '{}'?", hint));
  return 2;
}
