#pragma once

#include <string>

#include "x86/cpuid_model.h"

namespace vireo::x86 {

/// CPUID of the processor that runs us. A leaf past the host's last answers zero.
CpuidResult host_cpuid(u32 leaf, u32 subleaf = 0);
/// The host's processor has `feature`, and its operating system saves the registers that it needs.
bool host_has(Feature feature);
std::string host_vendor();  // "GenuineIntel"

}  // namespace vireo::x86
