#pragma once

#include <string>
#include <vector>

#include "vocab/integers.h"

namespace vireo::machine {

/// A number of bytes that people write as 4GiB.
struct Size {
  u64 bytes{};
  bool operator==(Size const&) const = default;
};

/// A machine as its owner describes it. Each struct has one list of its keys, read by the YAML reader, the YAML
/// writer and the "did you mean" of both; the command line fills the same fields.
struct DiskConfig {
  std::string path;
  std::string format;  // empty: found by looking
  bool readonly{};
  std::string cache{"writeback"};  // writeback, none, writethrough, directsync, unsafe
  bool temporary{};                // writes go to an overlay that is gone when the machine ends
  bool follow_backing{};           // opens the backing files that the image names
  std::string key_file;            // holds the passphrase of an encrypted image
  u32 iops{}, iops_burst{};        // operations a second, and at once after a rest; 0: no limit, a tenth of it
  Size bps, bps_burst;             // bytes likewise
  std::string throttle_group;      // disks that name the same one are limited together
  std::string on_error;            // empty: the machine's

  static void fields(auto&& s, auto&& f) {
    f("path", s.path);
    f("format", s.format);
    f("readonly", s.readonly);
    f("cache", s.cache);
    f("temporary", s.temporary);
    f("follow_backing", s.follow_backing);
    f("key_file", s.key_file);
    f("iops", s.iops);
    f("iops_burst", s.iops_burst);
    f("bps", s.bps);
    f("bps_burst", s.bps_burst);
    f("throttle_group", s.throttle_group);
    f("on_error", s.on_error);
  }
};

struct NetConfig {
  std::string kind{"user"};          // user: NAT
  std::string mac;                   // empty: made from the machine's name
  std::vector<std::string> forward;  // HOST:GUEST, [ADDRESS:]HOST:GUEST[/udp]

  static void fields(auto&& s, auto&& f) {
    f("kind", s.kind);
    f("mac", s.mac);
    f("forward", s.forward);
  }
};

/// Of machines that nobody named: the first free of vm, vm-2, ...
inline constexpr char default_name[]{"vm"};

struct MachineConfig {
  std::string name{default_name};
  std::string image;  // a name in the image store; resolved into kernel, initrd, append and a disk
  std::string engine{"auto"};
  Size code_cache{u64{64} << 20};  // of the software engine: translated code of all vCPUs together
  std::string cpu{"host"};
  u32 cpus{1};
  Size memory{u64{1} << 30};
  std::string firmware{"linux"};  // linux: boots `kernel`; bios; or a BIOS image's path
  std::string firmware_log;       // a file for what the firmware says of its work; empty: nowhere
  std::string vga{"auto"};        // std, none; auto: std where firmware needs one
  std::string kernel, initrd, append;
  std::vector<DiskConfig> disks;
  std::string on_error{"pause"};  // what a failed request of a disk does: pause, report or stop
  std::vector<NetConfig> networks;
  std::string console{"stdio"};        // COM1: stdio, none, a file, unix:PATH
  std::string virtio_console{"none"};  // hvc0: the same; none leaves the device out
  bool reboot{true};

  static void fields(auto&& s, auto&& f) {
    f("image", s.image);
    f("engine", s.engine);
    f("code_cache", s.code_cache);
    f("cpu", s.cpu);
    f("cpus", s.cpus);
    f("memory", s.memory);
    f("firmware", s.firmware);
    f("firmware_log", s.firmware_log);
    f("vga", s.vga);
    f("kernel", s.kernel);
    f("initrd", s.initrd);
    f("append", s.append);
    f("disks", s.disks);
    f("on_error", s.on_error);
    f("networks", s.networks);
    f("console", s.console);
    f("virtio_console", s.virtio_console);
    f("reboot", s.reboot);
  }
};

inline bool has_vga(MachineConfig const& config) {
  return config.vga == "std" || (config.vga == "auto" && config.firmware != "linux");
}

inline constexpr u32 max_vcpus{64};
inline constexpr u64 min_memory{u64{32} << 20};
inline constexpr u64 max_memory{u64{1} << 39};
inline constexpr u64 min_code_cache{u64{4} << 20};
inline constexpr u64 max_code_cache{u64{2} << 30};

}  // namespace vireo::machine
