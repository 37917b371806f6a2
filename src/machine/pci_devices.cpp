#include "machine/pci_devices.h"

#include <fmt/format.h>
#include <unistd.h>

#include <cstdio>
#include <filesystem>

#include "device/vga/vga.h"
#include "device/virtio/balloon/balloon.h"
#include "device/virtio/block/block.h"
#include "device/virtio/console/console.h"
#include "device/virtio/net/net.h"
#include "device/virtio/pci/virtio_pci.h"
#include "device/virtio/rng/rng.h"
#include "host/file.h"
#include "host/paths.h"
#include "image/backend.h"
#include "image/create_qcow2.h"
#include "image/key_ring.h"
#include "image/open_image.h"
#include "image/throttle/throttled_image.h"
#include "net/nat/nat.h"

namespace vireo::machine {
namespace {

namespace virtio = device::virtio;

image::CacheMode cache_mode(std::string_view name) {
  using image::CacheMode;
  if (name == "none") return CacheMode::none;
  if (name == "writethrough") return CacheMode::writethrough;
  if (name == "directsync") return CacheMode::directsync;
  if (name == "unsafe") return CacheMode::unsafe;
  return CacheMode::writeback;
}

image::ThrottleLimits limits_of(DiskConfig const& config) {
  return {.operations = config.iops,
          .operations_burst = config.iops_burst,
          .bytes = config.bps.bytes,
          .bytes_burst = config.bps_burst.bytes};
}

/// A fresh overlay on `config`'s image. Its name is gone once it is open, so that no end of this process leaves
/// it behind.
Result<std::unique_ptr<image::BlockImage>> open_temporary(DiskConfig const& config) {
  auto const folder = host::home_folder() + "/overlays";
  TRY(host::make_folders(folder));
  auto const path =
      fmt::format("{}/{}-{}.qcow2", folder, ::getpid(), std::filesystem::path{config.path}.stem().string());
  auto failure = std::error_code{};
  auto const backing = image::name_beside(std::filesystem::current_path(failure) / "", config.path);
  std::filesystem::remove(path, failure);
  TRY(image::open_image(
      config.path, {.format = config.format, .read_only = true, .follow_references = config.follow_backing}));
  TRY(image::create_qcow2(path, 0, {.path = backing, .format = config.format}));
  auto image = image::open_image(
      path, {.format = "qcow2", .cache = image::CacheMode::unsafe, .follow_references = true});
  std::filesystem::remove(path, failure);
  return image;
}

Result<std::shared_ptr<image::LiveDisk>> open_live(DiskConfig const& config) {
  if (!config.key_file.empty()) TRY(image::offer_key_file(config.key_file));
  if (config.temporary) return image::LiveDisk::of(TRY(open_temporary(config)));
  return image::LiveDisk::open({.path = config.path,
                                .format = config.format,
                                .read_only = config.readonly,
                                .cache = cache_mode(config.cache),
                                .follow_references = config.follow_backing});
}

/// Every disk has one, so that limits can come and go while it is used.
Result<std::shared_ptr<image::Throttle>> make_throttle(DiskConfig const& config) {
  auto const limits = limits_of(config);
  TRY_IN(config.path, image::check_limits(limits));
  if (config.throttle_group.empty()) return std::make_shared<image::Throttle>(limits);
  return TRY_IN(config.path, image::throttle_group(config.throttle_group, limits));
}

Result<MachineDisk> open_disk(std::string const& name, DiskConfig config, std::string const& on_error,
                              bus::MachineControl& control) {
  if (config.on_error.empty()) config.on_error = on_error;
  auto const policy = TRY_IN("on_error", device::parse_error_policy(config.on_error));
  auto throttle = TRY(make_throttle(config));
  auto live = TRY(open_live(config));
  return MachineDisk{.name = name,
                     .config = config,
                     .image = std::make_shared<image::ThrottledImage>(live, throttle),
                     .live = live,
                     .throttle = throttle,
                     .errors = std::make_shared<device::DiskErrors>(fmt::format("{} ({})", name, config.path),
                                                                    policy, control)};
}

/// The card's own address, or one made from machine name and card number that stays the same from run to run.
Result<virtio::MacAddress> mac_address(NetConfig const& config, std::string const& seed) {
  auto mac = virtio::MacAddress{};
  if (config.mac.empty()) {
    auto hash = u64{14695981039346656037u};  // FNV-1a
    for (auto const c : seed) hash = (hash ^ static_cast<u8>(c)) * 1099511628211u;
    store_le(mac.data() + 2, static_cast<u32>(hash ^ (hash >> 32)));
    mac[0] = 0x02;  // locally administered, unicast
    mac[1] = 0x76;
    return mac;
  }
  auto end = 0;
  auto const fields = std::sscanf(config.mac.c_str(), "%2hhx:%2hhx:%2hhx:%2hhx:%2hhx:%2hhx%n", &mac[0], &mac[1],
                                  &mac[2], &mac[3], &mac[4], &mac[5], &end);
  if (fields != 6 || static_cast<std::size_t>(end) != config.mac.size() || (mac[0] & 1) != 0) {
    return fail(Errc::invalid,
                fmt::format("mac: '{}' is no unicast address like 02:76:00:00:00:01", config.mac));
  }
  return mac;
}

Result<std::unique_ptr<virtio::VirtioDevice>> create_network(NetConfig const& config, std::string const& seed) {
  auto options = net::NatOptions{};
  for (auto const& text : config.forward)
    options.forwards.push_back(TRY_IN("forward", net::parse_forward(text)));
  auto const mac = TRY(mac_address(config, seed));
  auto port = TRY(net::Nat::create(std::move(options)));
  return std::make_unique<virtio::Net>(std::move(port), virtio::NetOptions{.mac = mac});
}

}  // namespace

Result<PciDevices> create_pci_devices(MachineConfig const& config, bus::Executor& executor,
                                      memory::GuestMemory& memory, bus::MachineControl& control) {
  auto result = PciDevices{};
  auto& devices = result.devices;
  auto const add = [&](std::string name, std::unique_ptr<virtio::VirtioDevice> function) {
    devices.push_back(
        {std::move(name), std::make_unique<virtio::VirtioPci>(executor, memory, std::move(function))});
  };
  for (auto i = std::size_t{0}; i < config.disks.size(); ++i) {
    auto const name = fmt::format("disk{}", i);
    auto const& disk =
        result.disks.emplace_back(TRY_IN(name, open_disk(name, config.disks[i], config.on_error, control)));
    add(name, std::make_unique<virtio::Block>(disk.image, virtio::BlockOptions{.errors = disk.errors}));
  }
  for (auto i = std::size_t{0}; i < config.networks.size(); ++i) {
    auto const name = fmt::format("net{}", i);
    add(name, TRY_IN(name, create_network(config.networks[i], config.name + "/" + name)));
  }
  add("rng", std::make_unique<virtio::Rng>());
  add("balloon", std::make_unique<virtio::Balloon>(memory));
  if (has_vga(config)) {
    auto vga = std::make_unique<device::Vga>(
        executor, TRY_IN("vga", memory.add_apart(device::Vga::memory_bytes)),
        config.firmware == "linux" ? device::VgaStart::text_mode : device::VgaStart::blank);
    result.screen = vga.get();
    devices.push_back({"vga", std::move(vga)});
  }
  if (config.virtio_console != "none") {
    auto console = std::make_unique<virtio::Console>();
    result.console = console.get();
    add("console", std::move(console));
  }
  return result;
}

}  // namespace vireo::machine
