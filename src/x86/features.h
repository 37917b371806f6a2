#pragma once

#include "vocab/integers.h"

namespace vireo::x86 {

/// CPUID feature bits: a word (row of `feature_words`) times 32 plus the bit (SDM vol. 2, CPUID).
enum class Feature : u16 {
  // word 0: leaf 1 EDX
  fpu = 0,
  vme = 1,
  de = 2,
  pse = 3,
  tsc = 4,
  msr = 5,
  pae = 6,
  mce = 7,
  cx8 = 8,
  apic = 9,
  sep = 11,
  mtrr = 12,
  pge = 13,
  mca = 14,
  cmov = 15,
  pat = 16,
  pse36 = 17,
  clflush = 19,
  mmx = 23,
  fxsr = 24,
  sse = 25,
  sse2 = 26,
  htt = 28,
  // word 1: leaf 1 ECX
  sse3 = 32,
  pclmulqdq = 33,
  monitor = 35,
  ssse3 = 41,
  fma = 44,
  cx16 = 45,
  pcid = 49,
  sse4_1 = 51,
  sse4_2 = 52,
  x2apic = 53,
  movbe = 54,
  popcnt = 55,
  tsc_deadline = 56,
  aes = 57,
  xsave = 58,
  osxsave = 59,
  avx = 60,
  f16c = 61,
  rdrand = 62,
  hypervisor = 63,
  // word 2: leaf 7.0 EBX
  fsgsbase = 64,
  tsc_adjust = 65,
  bmi1 = 67,
  avx2 = 69,
  fdp_exceptions_only = 70,
  smep = 71,
  bmi2 = 72,
  erms = 73,
  invpcid = 74,
  fcs_fds_deprecated = 77,
  rdseed = 82,
  adx = 83,
  smap = 84,
  clflushopt = 87,
  clwb = 88,
  sha = 93,
  // word 3: leaf 7.0 ECX
  umip = 98,
  rdpid = 118,
  // word 4: leaf 7.0 EDX
  fsrm = 132,
  spec_ctrl = 154,
  arch_capabilities = 157,
  // word 5: leaf 80000001 EDX
  syscall = 171,
  nx = 180,
  pdpe1gb = 186,
  rdtscp = 187,
  lm = 189,
  // word 6: leaf 80000001 ECX
  lahf_lm = 192,
  abm = 197,
  prefetchw = 200,
  // word 7: leaf D.1 EAX
  xsaveopt = 224,
  xsavec = 225,
  xgetbv1 = 226,
  xsaves = 227,
  always = 0xffff,  // for instructions that need no feature
};

struct FeatureWord {
  u32 leaf, subleaf;
  enum class Register : u8 { eax, ebx, ecx, edx } reg;
};
inline constexpr FeatureWord feature_words[]{
    {1, 0, FeatureWord::Register::edx},          {1, 0, FeatureWord::Register::ecx},
    {7, 0, FeatureWord::Register::ebx},          {7, 0, FeatureWord::Register::ecx},
    {7, 0, FeatureWord::Register::edx},          {0x80000001, 0, FeatureWord::Register::edx},
    {0x80000001, 0, FeatureWord::Register::ecx}, {0xd, 1, FeatureWord::Register::eax},
};

}  // namespace vireo::x86
