#pragma once

#include <string>
#include <vector>

#include "vocab/integers.h"
#include "vocab/result.h"

namespace vireo::image::appliance {

struct ApplianceDisk {
  std::string file{};    // beside the descriptor; empty: a new, empty disk
  std::string format{};  // as image formats are named
  u64 bytes{};
  std::string controller{"scsi"};  // "ide", "sata", "scsi", "nvme" or "other"
};
struct ApplianceNic {
  std::string model{};    // "E1000", "VmxNet3", ...
  std::string network{};  // its name there
  std::string mac{};
};
struct ApplianceFile {
  std::string name{};
  u64 bytes{};
};

/// A virtual machine as an OVF descriptor has it.
struct Appliance {
  std::string name{};
  std::string system{};  // of the guest, in words
  u32 cpus{1};
  u64 memory{};
  bool efi{};
  std::vector<ApplianceDisk> disks{};
  std::vector<ApplianceNic> nics{};
  std::string kernel{}, initrd{}, command_line{};  // ours: what boots it without firmware; names of files
  std::vector<ApplianceFile> files{};              // all that belong to it
  std::vector<std::string> warnings{};             // what could not be mapped
};

/// OVF 1.0 to 2.x (DSP0243), as VMware and VirtualBox write it; one machine. Errc::corrupt or unsupported with
/// what it is about.
Result<Appliance> parse_ovf(std::string_view text);
/// OVF 1.0 that VMware, VirtualBox and we read. `files` says how long each file is.
std::string write_ovf(Appliance const& appliance);

}  // namespace vireo::image::appliance
