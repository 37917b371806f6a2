#include "machine/pci_devices.h"

#include <fmt/format.h>

#include "device/virtio/block/block.h"
#include "device/virtio/net/net.h"
#include "device/virtio/pci/virtio_pci.h"
#include "image/open.h"
#include "net/nat/nat.h"

namespace vireo::machine {
namespace {

namespace virtio = device::virtio;

Result<std::unique_ptr<virtio::VirtioDevice>> create_disk(DiskConfig const& config) {
  auto image = TRY(image::open_image(config.path, {.format = config.format, .read_only = config.readonly}));
  return std::make_unique<virtio::Block>(std::move(image), virtio::BlockOptions{});
}

Result<std::unique_ptr<virtio::VirtioDevice>> create_network(NetConfig const& config) {
  auto options = net::NatOptions{};
  for (auto const& text : config.forward) options.forwards.push_back(TRY_IN("forward", net::parse_forward(text)));
  auto port = TRY(net::Nat::create(std::move(options)));
  return std::make_unique<virtio::Net>(std::move(port));
}

}  // namespace

Result<PciDevices> create_pci_devices(MachineConfig const& config, bus::Executor& executor,
                                      memory::GuestMemory& memory) {
  auto devices = PciDevices{};
  auto const add = [&](std::string name, std::unique_ptr<virtio::VirtioDevice> function) {
    devices.push_back({std::move(name), std::make_unique<virtio::VirtioPci>(executor, memory, std::move(function))});
  };
  for (auto i = std::size_t{0}; i < config.disks.size(); ++i) {
    auto const name = fmt::format("disk{}", i);
    add(name, TRY_IN(name, create_disk(config.disks[i])));
  }
  for (auto i = std::size_t{0}; i < config.networks.size(); ++i) {
    auto const name = fmt::format("net{}", i);
    add(name, TRY_IN(name, create_network(config.networks[i])));
  }
  return devices;
}

}  // namespace vireo::machine
