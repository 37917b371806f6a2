#include <fmt/format.h>

#include "bus/address_plan.h"
#include "firmware/acpi/acpi.h"
#include "firmware/acpi/aml.h"

namespace vireo::firmware {
namespace {

namespace plan = bus::address_plan;
using aml::Term;

/// _PRT (ACPI 6.2.13): every pin of every slot goes straight to an IOAPIC input.
Term pci_routing() {
  auto rows = std::vector<Term>{};
  for (auto slot = u8{0}; slot < 32; ++slot) {
    for (auto pin = u8{1}; pin <= 4; ++pin) {
      rows.push_back(aml::package({aml::integer(u64{slot} << 16 | 0xffff), aml::integer(pin - 1u),
                                   aml::integer(0), aml::integer(plan::gsi_of_pci_pin(slot, pin))}));
    }
  }
  return aml::package(rows);
}

Term pci_host() {
  return aml::device(
      "PCI0",
      {aml::name("_HID", aml::eisa_id("PNP0A08")), aml::name("_CID", aml::eisa_id("PNP0A03")),
       aml::name("_UID", aml::integer(0)), aml::name("_SEG", aml::integer(0)),
       aml::name("_BBN", aml::integer(0)),
       aml::name(
           "_CRS",
           aml::resources(
               {aml::bus_numbers(0, 255), aml::io_port(0xcf8, 8),
                aml::io_window(plan::pci_io_first, plan::pci_io_last), aml::memory_window32(0xa0000, 0xbffff),
                aml::memory_window32(static_cast<u32>(plan::pci_window32.start.value),
                                     static_cast<u32>(plan::pci_window32.end().value - 1)),
                aml::memory_window64(plan::pci_window64.start.value, plan::pci_window64.end().value - 1)})),
       aml::name("_PRT", pci_routing()),
       // _OSC (PCI Firmware 3.3, 4.5): every control that is asked for is granted.
       aml::method("_OSC", 4, {aml::return_argument(3)})});
}

Term isa_device(char const* where, char const* id, u64 uid, std::vector<Term> const& resources) {
  return aml::device(where,
                     {aml::name("_HID", aml::eisa_id(id)), aml::name("_UID", aml::integer(uid)),
                      aml::name("_STA", aml::integer(0xf)), aml::name("_CRS", aml::resources(resources))});
}

Term processor(u32 index) {
  return aml::device(fmt::format("C{:03X}", index),
                     {aml::name("_HID", aml::string("ACPI0007")), aml::name("_UID", aml::integer(index))});
}

}  // namespace

std::vector<u8> dsdt_body(AcpiConfig const& config) {
  auto system_bus = std::vector<Term>{
      pci_host(),
      // The ECAM window belongs to the board: Linux trusts MCFG only then.
      isa_device("MBRD", "PNP0C02", 0,
                 {aml::memory32_fixed(static_cast<u32>(plan::ecam.start.value),
                                      static_cast<u32>(plan::ecam.length), true),
                  aml::io_port(plan::pm_base, 0x40)}),
      isa_device("COM1", "PNP0501", 1, {aml::io_port(plan::com1, 8), aml::irq(plan::gsi_com1)}),
      isa_device("COM2", "PNP0501", 2, {aml::io_port(plan::com2, 8), aml::irq(plan::gsi_com2)}),
      isa_device("RTC0", "PNP0B00", 0, {aml::io_port(0x70, 2), aml::irq(plan::gsi_rtc)}),
      isa_device("KBD0", "PNP0303", 0,
                 {aml::io_port(0x60, 1), aml::io_port(0x64, 1), aml::irq(plan::gsi_keyboard)}),
      isa_device("HPET", "PNP0103", 0,
                 {aml::memory32_fixed(static_cast<u32>(plan::hpet.start.value),
                                      static_cast<u32>(plan::hpet.length), true)}),
  };
  for (auto i = u32{0}; i < config.vcpus; ++i) system_bus.push_back(processor(i));
  auto const sleep_type = aml::integer(plan::s5_sleep_type);
  return aml::concatenate(
      {aml::scope("\\_SB", system_bus),
       aml::name("\\_S5", aml::package({sleep_type, sleep_type, aml::integer(0), aml::integer(0)}))});
}

}  // namespace vireo::firmware
