#pragma once

#include <array>
#include <string_view>
#include <vector>

#include "vocab/integers.h"
#include "vocab/result.h"
#include "x86/features.h"

namespace vireo::x86 {

struct CpuidResult {
  u32 eax{}, ebx{}, ecx{}, edx{};
};

/// What CPUID answers, apart from what depends on the vCPU and its registers (APIC ids, OSXSAVE, OSPKE, XSAVE
/// size): the engine fills those in. Made once per machine, the same for every engine.
class CpuidModel {
 public:
  struct Leaf {
    u32 leaf{}, subleaf{};
    CpuidResult result{};
  };
  /// `name` is x86-64-v2, x86-64-v3 or host. `vcpus` shapes the topology leaves.
  static Result<CpuidModel> create(std::string_view name, u32 vcpus);

  /// SDM vol. 2, CPUID: a basic leaf past the last answers as the last basic leaf; unknown others as zero.
  CpuidResult lookup(u32 leaf, u32 subleaf) const;
  std::vector<Leaf> const& leaves() const { return leaves_; }
  std::string_view name() const { return name_; }

  /// True when the model offers `feature` (x86/features.h).
  bool has(Feature feature) const;

 private:
  std::string_view name_;
  std::vector<Leaf> leaves_;
  std::array<u32, std::size(feature_words)> features_{};  // as feature_words
};

}  // namespace vireo::x86
