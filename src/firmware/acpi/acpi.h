#pragma once

#include <vector>

#include "memory/guest_memory.h"
#include "vocab/numbers.h"
#include "vocab/result.h"

namespace vireo::firmware {

/// What the tables say of the machine beyond bus/address_plan.h.
struct AcpiConfig {
  u32 vcpus{1};
  bool vga{};
};

/// RSDP, XSDT, FADT, FACS, DSDT, MADT, MCFG and HPET (ACPI 6.5) for a place that is known, or for firmware that
/// chooses one: then it adds the place to the pointers and mends the checksums. All numbers are offsets into
/// `tables`.
struct AcpiTables {
  struct Pointer {
    u32 at;
    u8 bytes;
  };
  struct Checksum {
    u32 start, length, at;
  };
  std::vector<u8> root;  // its pointer lies at root_pointer
  std::vector<u8> tables;
  std::vector<Pointer> pointers;
  std::vector<Checksum> checksums;

  static constexpr u32 root_pointer{24};
};
AcpiTables build_acpi(AcpiConfig const& config, Gpa at);

/// Writes RSDP, XSDT, FADT, FACS, DSDT, MADT, MCFG and HPET (ACPI 6.5) into address_plan::acpi_tables; yields
/// the RSDP's address.
Result<Gpa> store_acpi(memory::GuestMemory& memory, AcpiConfig const& config);

/// The DSDT's body: what Linux finds under \_SB (acpi/dsdt.cpp).
std::vector<u8> dsdt_body(AcpiConfig const& config);

}  // namespace vireo::firmware
