// One virtual machine in the foreground of its process: vireo-vmm --spec FILE.
#include <fmt/format.h>
#include <malloc.h>

#include <cstdio>
#include <cstdlib>
#include <string_view>

#include "host/file.h"
#include "machine/foreground.h"
#include "machine/spec.h"
#include "observe/log.h"

namespace {

using namespace vireo;

Result<machine::MachineConfig> read_config(char const* path) {
  auto const text = TRY(host::read_text(path));
  auto config = TRY(machine::read_spec(text, path));
  TRY(machine::check_config(config));
  return config;
}

void set_log_level_from_environment() {
  auto const* const wanted = std::getenv("VIREO_LOG");
  if (wanted == nullptr) return;
  auto const name = std::string_view{wanted};
  if (name == "info") observe::set_log_level(observe::Level::info);
  if (name == "debug") observe::set_log_level(observe::Level::debug);
  if (name == "error") observe::set_log_level(observe::Level::error);
}

/// Large blocks always have pages of their own, which go back to the host when they are freed. By default glibc
/// stops doing so once a kernel has been loaded.
void give_memory_back() { mallopt(M_MMAP_THRESHOLD, 128 * 1024); }

}  // namespace

int main(int count, char** arguments) {
  if (count != 3 || std::string_view{arguments[1]} != "--spec") {
    fmt::print(stderr, "usage: vireo-vmm --spec FILE.yaml\n");
    return vireo::machine::exit_bad_configuration;
  }
  give_memory_back();
  set_log_level_from_environment();
  auto const config = read_config(arguments[2]);
  if (!config) {
    fmt::print(stderr, "vireo: {}\n", config.error().what());
    return vireo::machine::exit_bad_configuration;
  }
  return vireo::machine::run_foreground(*config);
}
