#pragma once

#include "memory/guest_memory.h"
#include "vocab/numbers.h"
#include "vocab/result.h"

namespace vireo::firmware {

/// What the tables say of the machine beyond bus/address_plan.h.
struct AcpiConfig {
  u32 vcpus{1};
};

/// Writes RSDP, XSDT, FADT, FACS, DSDT, MADT, MCFG and HPET (ACPI 6.5) into address_plan::acpi_tables; yields
/// the RSDP's address.
Result<Gpa> store_acpi(memory::GuestMemory& memory, AcpiConfig const& config);

/// The DSDT's body: what Linux finds under \_SB (acpi/dsdt.cpp).
std::vector<u8> dsdt_body(AcpiConfig const& config);

}  // namespace vireo::firmware
