#include "x86/host_cpu.h"

#include <cpuid.h>

#include <cstring>

namespace vireo::x86 {
namespace {

bool bit_of_host(Feature feature) {
  auto const word = feature_words[static_cast<u32>(feature) / 32];
  auto const result = host_cpuid(word.leaf, word.subleaf);
  auto const value = word.reg == FeatureWord::Register::eax   ? result.eax
                     : word.reg == FeatureWord::Register::ebx ? result.ebx
                     : word.reg == FeatureWord::Register::ecx ? result.ecx
                                                              : result.edx;
  return value >> (static_cast<u32>(feature) % 32) & 1;
}

bool needs_ymm(Feature feature) {
  return feature == Feature::avx || feature == Feature::avx2 || feature == Feature::fma ||
         feature == Feature::f16c;
}

bool host_saves_ymm() {
  if (!bit_of_host(Feature::osxsave)) return false;
  auto low = u32{};
  auto high = u32{};
  // SOUND: OSXSAVE is set, so XGETBV of XCR0 is allowed at any privilege.
  asm volatile("xgetbv" : "=a"(low), "=d"(high) : "c"(0));
  return (low & 6) == 6;
}

}  // namespace

CpuidResult host_cpuid(u32 leaf, u32 subleaf) {
  auto result = CpuidResult{};
  __get_cpuid_count(leaf, subleaf, &result.eax, &result.ebx, &result.ecx, &result.edx);
  return result;
}

bool host_has(Feature feature) {
  return feature == Feature::always || (bit_of_host(feature) && (!needs_ymm(feature) || host_saves_ymm()));
}

std::string host_vendor() {
  auto const result = host_cpuid(0);
  auto text = std::string(12, '\0');
  std::memcpy(text.data(), &result.ebx, 4);
  std::memcpy(text.data() + 4, &result.edx, 4);
  std::memcpy(text.data() + 8, &result.ecx, 4);
  return text;
}

}  // namespace vireo::x86
