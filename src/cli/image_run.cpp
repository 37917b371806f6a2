#include "cli/image_run.h"

#include "machine/image_store.h"

namespace vireo::cli {

Result<> apply_image(machine::MachineConfig& config) {
  if (config.image.empty()) return {};
  auto const image = TRY(machine::ImageStore{}.find(config.image));
  if (config.kernel.empty()) {
    config.kernel = image.kernel;
    if (config.initrd.empty()) config.initrd = image.initrd;
  }
  if (config.append.empty()) config.append = image.command_line;
  if (config.disks.empty()) {
    config.disks.push_back({.path = image.disk, .format = image.disk_format, .temporary = true});
  }
  return {};
}

}  // namespace vireo::cli
