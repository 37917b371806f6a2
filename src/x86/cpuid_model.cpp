#include "x86/cpuid_model.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <bit>
#include <cstring>
#include <span>

#include "x86/host_cpu.h"

namespace vireo::x86 {
namespace {

using F = Feature;

/// What the engine provides by itself, on any host.
constexpr std::array system_features{F::vme,
                                     F::de,
                                     F::pse,
                                     F::tsc,
                                     F::msr,
                                     F::pae,
                                     F::mce,
                                     F::cx8,
                                     F::apic,
                                     F::sep,
                                     F::mtrr,
                                     F::pge,
                                     F::mca,
                                     F::pat,
                                     F::pse36,
                                     F::clflush,
                                     F::x2apic,
                                     F::tsc_deadline,
                                     F::hypervisor,
                                     F::tsc_adjust,
                                     F::spec_ctrl,
                                     F::fdp_exceptions_only,
                                     F::arch_capabilities,
                                     F::syscall,
                                     F::nx,
                                     F::pdpe1gb,
                                     F::rdtscp,
                                     F::lm,
                                     F::lahf_lm};
constexpr std::array baseline{F::fpu, F::cmov, F::mmx, F::fxsr, F::sse, F::sse2};
constexpr std::array v2{F::sse3, F::ssse3, F::cx16, F::sse4_1, F::sse4_2, F::popcnt};
constexpr std::array v3{F::pclmulqdq, F::fma,  F::movbe, F::aes,  F::xsave, F::avx,      F::f16c,
                        F::rdrand,    F::bmi1, F::avx2,  F::bmi2, F::abm,   F::xsaveopt, F::xgetbv1};
/// Supervisor features that come with v3: again the engine's own.
constexpr std::array v3_system{
    F::pcid, F::fsgsbase,           F::smep,     F::smap, F::umip, F::invpcid, F::erms,
    F::fsrm, F::fcs_fds_deprecated, F::prefetchw};
/// What `host` adds where the host has it.
constexpr std::array host_only{F::rdseed, F::adx, F::clflushopt, F::clwb, F::sha, F::rdpid, F::xsavec};

/// Programs choose code by family and model alone (GCC's target_clones with arch=): the one that is named must
/// not have more instructions than the model offers. Nehalem has what x86-64-v2 has, Haswell what x86-64-v3
/// has; AMD's family 19h is told apart by its features.
constexpr u32 nehalem_signature{0x000106a5};
constexpr u32 haswell_signature{0x000306c3};
constexpr u32 amd_signature{0x00a20f10};

constexpr u32 kvm_features{1u << 0 | 1u << 1 | 1u << 3 | 1u << 5 | 1u << 6 | 1u << 7 | 1u << 9 | 1u << 11 |
                           1u << 13 | 1u << 24};
constexpr u32 xsave_area{832};

class Builder {
 public:
  explicit Builder(u32 vcpus) : vcpus_{vcpus} {}

  void add(std::span<Feature const> features) {
    for (auto const feature : features)
      words_[static_cast<u32>(feature) / 32] |= 1u << (static_cast<u32>(feature) % 32);
  }
  void add_those_of_host(std::span<Feature const> features) {
    for (auto const feature : features)
      if (host_has(feature)) add({&feature, 1});
  }
  std::vector<CpuidModel::Leaf> leaves(std::string_view brand, u32 signature);
  auto const& words() const { return words_; }
  bool has(Feature feature) const {
    return words_[static_cast<u32>(feature) / 32] >> (static_cast<u32>(feature) % 32) & 1;
  }

 private:
  void put(u32 leaf, u32 subleaf, CpuidResult result) { leaves_.push_back({leaf, subleaf, result}); }
  void put_identity(u32 signature);
  void put_caches();
  void put_topology();
  void put_extended_state();
  void put_paravirtual();
  void put_extended(std::string_view brand, u32 signature);
  u32 core_bits() const { return static_cast<u32>(std::bit_width(vcpus_ - 1)); }

  u32 vcpus_;
  std::array<u32, std::size(feature_words)> words_{};
  std::vector<CpuidModel::Leaf> leaves_;
};

/// SDM vol. 2, table 3-8.
void Builder::put_identity(u32 signature) {
  auto const vendor = host_cpuid(0);
  put(0, 0, {.eax = 0x16, .ebx = vendor.ebx, .ecx = vendor.ecx, .edx = vendor.edx});
  constexpr auto clflush_line = 8u << 8;  // in units of 8 bytes
  auto const logical = std::min(1u << core_bits(), 255u);
  put(1, 0, {.eax = signature, .ebx = logical << 16 | clflush_line, .ecx = words_[1], .edx = words_[0]});
  put(2, 0, {.eax = 0x00feff01});  // caches and TLB: see leaf 4
  put(6, 0, {.eax = 1u << 2});     // the APIC timer always runs
  put(7, 0, {.eax = 2, .ebx = words_[2], .ecx = words_[3], .edx = words_[4]});
  // Linux clears the branch history in software at each system call unless BHI_CTRL offers to do it.
  constexpr auto bhi_ctrl = 1u << 4, mcdt_no = 1u << 5;
  put(7, 2, {.edx = bhi_ctrl | mcdt_no});
}

struct Cache {
  u32 type, level, kib, ways;
  bool shared;
};

void Builder::put_caches() {
  constexpr std::array caches{Cache{1, 1, 48, 12, false}, Cache{2, 1, 32, 8, false},
                              Cache{3, 2, 2048, 16, false}, Cache{3, 3, 16384, 16, true}};
  auto const cores = std::min(1u << core_bits(), 64u) - 1;
  auto const sharing = std::min((1u << core_bits()) - 1, 4095u);
  for (auto i = 0u; i < caches.size(); ++i) {
    auto const& cache = caches[i];
    auto const sets = cache.kib * 1024 / 64 / cache.ways;
    put(4, i,
        {.eax = cores << 26 | (cache.shared ? sharing : 0) << 14 | 1u << 8 | cache.level << 5 | cache.type,
         .ebx = (cache.ways - 1) << 22 | 63,
         .ecx = sets - 1,
         .edx = 0});
  }
}

void Builder::put_topology() {
  put(0xb, 0, {.eax = 0, .ebx = 1, .ecx = 1 << 8 | 0});
  put(0xb, 1, {.eax = core_bits(), .ebx = vcpus_, .ecx = 2 << 8 | 1});
}

void Builder::put_extended_state() {
  if (!has(F::xsave)) return;
  put(0xd, 0, {.eax = 7, .ebx = xsave_area, .ecx = xsave_area});
  put(0xd, 1, {.eax = words_[7]});
  put(0xd, 2, {.eax = 256, .ebx = 576});
}

/// Linux, Documentation/virt/kvm/x86/cpuid.rst. The engine fills in 0x40000010: TSC and APIC frequency.
void Builder::put_paravirtual() {
  put(0x4000'0000, 0, {.eax = 0x4000'0010, .ebx = 0x4b4d564b, .ecx = 0x564b4d56, .edx = 0x4d});
  put(0x4000'0001, 0, {.eax = kvm_features});
  put(0x4000'0010, 0, {});
}

void Builder::put_extended(std::string_view brand, u32 signature) {
  auto const vendor = host_cpuid(0);
  auto const intel = host_vendor() == "GenuineIntel";
  if (intel)
    put(0x8000'0000, 0, {.eax = 0x8000'0008});
  else
    put(0x8000'0000, 0, {.eax = 0x8000'0008, .ebx = vendor.ebx, .ecx = vendor.ecx, .edx = vendor.edx});
  put(0x8000'0001, 0, {.eax = intel ? 0 : signature, .ecx = words_[6], .edx = words_[5]});
  auto text = std::array<char, 48>{};
  brand.copy(text.data(), text.size() - 1);
  for (auto i = 0u; i < 3; ++i) {
    auto part = std::array<u32, 4>{};
    std::memcpy(part.data(), text.data() + 16 * i, sizeof part);
    put(0x8000'0002 + i, 0, {part[0], part[1], part[2], part[3]});
  }
  put(0x8000'0005, 0,
      intel ? CpuidResult{}
            : CpuidResult{.ecx = 32u << 24 | 8u << 16 | 1u << 8 | 64,
                          .edx = 32u << 24 | 8u << 16 | 1u << 8 | 64});
  put(0x8000'0006, 0, {.ecx = 2048u << 16 | 8u << 12 | 64});  // L2: 16-way
  put(0x8000'0007, 0, {.edx = 1u << 8});                      // invariant TSC
  put(0x8000'0008, 0, {.eax = 48u << 8 | 40, .ecx = intel ? 0 : core_bits() << 12 | (vcpus_ - 1)});
}

std::vector<CpuidModel::Leaf> Builder::leaves(std::string_view brand, u32 signature) {
  if (vcpus_ > 1) words_[0] |= 1u << static_cast<u32>(F::htt);
  put_identity(signature);
  put_caches();
  put_topology();
  put_extended_state();
  put(0x15, 0, {});  // frequencies: the engine's
  put(0x16, 0, {});
  put_paravirtual();
  put_extended(brand, signature);
  return std::move(leaves_);
}

std::string host_brand() {
  auto text = std::array<char, 49>{};
  for (auto i = 0u; i < 3; ++i) {
    auto const part = host_cpuid(0x8000'0002 + i);
    std::memcpy(text.data() + 16 * i, &part, sizeof part);
  }
  return text.data();
}

bool has_subleaves(u32 leaf) { return leaf == 4 || leaf == 7 || leaf == 0xb || leaf == 0xd; }

}  // namespace

Result<CpuidModel> CpuidModel::create(std::string_view name, u32 vcpus) {
  constexpr std::array<std::string_view, 3> names{"x86-64-v2", "x86-64-v3", "host"};
  auto const* const known = std::ranges::find(names, name);
  if (known == names.end())
    return fail(Errc::invalid, fmt::format("CPU model '{}': x86-64-v2, x86-64-v3 or host", name));
  if (vcpus == 0 || vcpus > 255) return fail(Errc::invalid, "a machine has 1 to 255 vCPUs");
  auto builder = Builder{vcpus};
  builder.add(system_features);
  builder.add(baseline);
  builder.add(v2);
  auto const host = name == "host";
  if (name == "x86-64-v3") {
    for (auto const feature : v3) {
      if (!host_has(feature))
        return fail(Errc::unsupported, fmt::format("CPU model x86-64-v3: this processor lacks feature {}",
                                                   static_cast<u16>(feature)));
    }
    builder.add(v3);
    builder.add(v3_system);
  }
  if (host) {
    builder.add_those_of_host(v3);
    builder.add_those_of_host(host_only);
    builder.add(v3_system);
  }
  auto const brand = host ? host_brand() : fmt::format("Vireo virtual CPU ({})", name);
  auto const signature = host_vendor() != "GenuineIntel" ? amd_signature
                         : builder.has(Feature::avx2)    ? haswell_signature
                                                         : nehalem_signature;
  auto model = CpuidModel{};
  model.name_ = *known;
  model.leaves_ = builder.leaves(brand, signature);
  model.features_ = builder.words();
  return model;
}

CpuidResult CpuidModel::lookup(u32 leaf, u32 subleaf) const {
  auto const find = [&](u32 number) -> CpuidResult {
    auto const at = std::ranges::find_if(leaves_, [&](Leaf const& entry) {
      return entry.leaf == number && (!has_subleaves(number) || entry.subleaf == subleaf);
    });
    if (at != leaves_.end()) return at->result;
    // SDM: past the last level, ECX[7:0] still tells the subleaf.
    return number == 0xb ? CpuidResult{.ecx = subleaf & 0xff} : CpuidResult{};
  };
  if (leaves_.empty()) return {};
  auto const last_basic = leaves_.front().result.eax;
  if (leaf <= last_basic) return find(leaf);
  auto const known = std::ranges::any_of(leaves_, [&](Leaf const& entry) { return entry.leaf == leaf; });
  if (known) return find(leaf);
  return leaf < 0x4000'0000 ? find(last_basic) : CpuidResult{};
}

bool CpuidModel::has(Feature feature) const {
  if (feature == Feature::always) return true;
  return features_[static_cast<u32>(feature) / 32] >> (static_cast<u32>(feature) % 32) & 1;
}

}  // namespace vireo::x86
