#pragma once

#include "vocab/numbers.h"

/// Where things stand in the guest's physical and port address spaces. Firmware tables and devices agree
/// through these.
namespace vireo::bus::address_plan {

// RAM from 0 up to here, the rest from 4 GiB.
inline constexpr u64 low_ram_limit{0xB000'0000};
inline constexpr u64 high_ram_start{4 * GiB};

inline constexpr GpaRange ecam{Gpa{0xB000'0000}, 256 * MiB};
inline constexpr GpaRange pci_window32{Gpa{0xC000'0000}, 0xFEC0'0000 - 0xC000'0000};
inline constexpr GpaRange ioapic{Gpa{0xFEC0'0000}, 0x1000};
inline constexpr GpaRange hpet{Gpa{0xFED0'0000}, 0x400};
inline constexpr GpaRange local_apic{Gpa{0xFEE0'0000}, 0x10'0000};  // also the MSI address range
inline constexpr GpaRange pci_window64{Gpa{0x80'0000'0000}, 64 * GiB};
inline constexpr GpaRange acpi_tables{Gpa{0xE'0000}, 0x2'0000};

// I/O ports.
inline constexpr u16 pm_base{0x600};  // PM1a event 0x600, control 0x604, timer 0x608
inline constexpr u16 pm1a_event{0x600};
inline constexpr u16 pm1a_control{0x604};
inline constexpr u16 pm_timer{0x608};
inline constexpr u16 gpe0{0x620};
inline constexpr u8 gpe0_length{4};    // status and enable, two bytes each
inline constexpr u8 s5_sleep_type{5};  // SLP_TYP that switches the machine off
inline constexpr u16 com1{0x3F8};
inline constexpr u16 com2{0x2F8};
inline constexpr u16 reset_control{0xCF9};
inline constexpr u16 pci_io_first{0xC000};
inline constexpr u16 pci_io_last{0xFFFF};

// Global system interrupts: IOAPIC pin numbers.
inline constexpr u8 gsi_count{24};
inline constexpr u8 gsi_timer{2};  // ISA IRQ 0 by the MADT's override
inline constexpr u8 gsi_keyboard{1};
inline constexpr u8 gsi_com2{3};
inline constexpr u8 gsi_com1{4};
inline constexpr u8 gsi_rtc{8};
inline constexpr u8 gsi_sci{9};
inline constexpr u8 gsi_mouse{12};
inline constexpr u8 gsi_pci_first{16};  // eight level-triggered inputs, 16..23

/// The GSI of pin INTA..INTD (`pin` 1..4) of the device in `slot` on bus 0: devices start at different inputs.
constexpr u8 gsi_of_pci_pin(u8 slot, u8 pin) { return static_cast<u8>(gsi_pci_first + ((slot + pin - 1) & 7)); }

}  // namespace vireo::bus::address_plan
