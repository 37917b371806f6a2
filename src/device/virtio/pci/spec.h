#pragma once

#include "vocab/integers.h"

/// The PCI transport of virtio 1.2, chapters 2.1, 4.1 and 6.
namespace vireo::device::virtio::spec {

inline constexpr u16 VIRTIO_PCI_VENDOR{0x1af4};  // 4.1.2
inline constexpr u16 VIRTIO_PCI_DEVICE_BASE{0x1040};
inline constexpr u8 VIRTIO_PCI_REVISION{1};

enum DeviceStatus : u8 {  // 2.1
  ACKNOWLEDGE = 1,
  DRIVER = 2,
  DRIVER_OK = 4,
  FEATURES_OK = 8,
  DEVICE_NEEDS_RESET = 64,
  FAILED = 128,
};

enum Feature : u32 {  // 6, bit numbers
  VIRTIO_F_INDIRECT_DESC = 28,
  VIRTIO_F_EVENT_IDX = 29,
  VIRTIO_F_VERSION_1 = 32,
  VIRTIO_F_ACCESS_PLATFORM = 33,
  VIRTIO_F_RING_PACKED = 34,
  VIRTIO_F_RING_RESET = 40,
};

inline constexpr u8 PCI_CAP_ID_VNDR{0x09};
enum CapabilityType : u8 {  // 4.1.4
  VIRTIO_PCI_CAP_COMMON_CFG = 1,
  VIRTIO_PCI_CAP_NOTIFY_CFG = 2,
  VIRTIO_PCI_CAP_ISR_CFG = 3,
  VIRTIO_PCI_CAP_DEVICE_CFG = 4,
  VIRTIO_PCI_CAP_PCI_CFG = 5,
};
// 4.1.4, offsets in struct virtio_pci_cap
inline constexpr u8 cap_bar{4};
inline constexpr u8 cap_offset{8};
inline constexpr u8 cap_length{12};
inline constexpr u8 cap_data{16};  // 4.1.4.9 pci_cfg_data

enum CommonConfig : u16 {  // 4.1.4.3, offsets
  device_feature_select = 0x00,
  device_feature = 0x04,
  driver_feature_select = 0x08,
  driver_feature = 0x0c,
  config_msix_vector = 0x10,
  num_queues = 0x12,
  device_status = 0x14,
  config_generation = 0x15,
  queue_select = 0x16,
  queue_size = 0x18,
  queue_msix_vector = 0x1a,
  queue_enable = 0x1c,
  queue_notify_off = 0x1e,
  queue_desc = 0x20,
  queue_driver = 0x28,
  queue_device = 0x30,
  queue_notify_data = 0x38,
  queue_reset = 0x3a,
  common_config_size = 0x40,
};

inline constexpr u16 VIRTIO_MSI_NO_VECTOR{0xffff};

enum IsrStatus : u8 { ISR_QUEUE = 1, ISR_CONFIG = 2 };  // 4.1.4.5

}  // namespace vireo::device::virtio::spec
