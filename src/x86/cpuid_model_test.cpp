#include "x86/cpuid_model.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "x86/host_cpu.h"

namespace vireo::x86 {
namespace {

TEST(CpuidModel, OffersV2WithoutAvx) {
  auto const model = CpuidModel::create("x86-64-v2", 1).value();
  EXPECT_TRUE(model.has(Feature::sse4_2));
  EXPECT_TRUE(model.has(Feature::popcnt));
  EXPECT_FALSE(model.has(Feature::xsave));
  EXPECT_FALSE(model.has(Feature::avx));
}

TEST(CpuidModel, OffersAllOfV3OrSaysThatTheHostCannot) {
  auto const model = CpuidModel::create("x86-64-v3", 4);
  if (!host_has(Feature::avx2)) GTEST_SKIP() << model.error().what();
  for (auto const feature : {Feature::avx2, Feature::bmi1, Feature::bmi2, Feature::f16c, Feature::fma,
                             Feature::abm, Feature::movbe, Feature::xsave})
    EXPECT_TRUE(model->has(feature)) << static_cast<int>(feature);
  EXPECT_EQ(model->lookup(0xd, 0).ecx, 832u);
}

TEST(CpuidModel, RestrictsTheHostToWhatTheInterpreterExecutes) {
  auto const model = CpuidModel::create("host", 1).value();
  auto const leaf7 = model.lookup(7, 0);
  EXPECT_EQ(leaf7.ebx & (1u << 16 | 1u << 4 | 1u << 11), 0u);  // AVX512F, HLE, RTM
  EXPECT_EQ(leaf7.ecx & (1u << 3 | 1u << 7 | 1u << 16), 0u);   // PKU, shadow stacks, LA57
  EXPECT_EQ(leaf7.edx & (3u << 24 | 1u << 20), 0u);            // AMX, IBT
  EXPECT_EQ(model.has(Feature::sha), host_has(Feature::sha));
  EXPECT_FALSE(model.has(Feature::xsaves));
}

TEST(CpuidModel, SpreadsVcpusAsCoresOfOneSocket) {
  auto const model = CpuidModel::create("x86-64-v2", 6).value();
  EXPECT_EQ(model.lookup(0xb, 0).ebx, 1u);
  EXPECT_EQ(model.lookup(0xb, 1).ebx, 6u);
  EXPECT_EQ(model.lookup(0xb, 1).eax, 3u);
  EXPECT_EQ(model.lookup(0xb, 2).ebx, 0u);
  EXPECT_TRUE(model.has(Feature::htt));
}

TEST(CpuidModel, AnswersPastTheLastBasicLeafAsTheLast) {
  auto const model = CpuidModel::create("x86-64-v2", 1).value();
  EXPECT_EQ(model.lookup(0x1234, 0).eax, model.lookup(0x16, 0).eax);
  EXPECT_EQ(model.lookup(0x8000'0100, 0).eax, 0u);
  EXPECT_EQ(model.lookup(0x4000'0000, 0).ebx, 0x4b4d564bu);
}

// GCC's target_clones trust family and model: stress-ng ran AVX-512 code on a model that was named Rocket Lake.
TEST(CpuidModel, NamesNoProcessorWithMoreInstructionsThanItOffers) {
  constexpr auto nehalem = 0x106a5u, haswell = 0x306c3u, zen3_by_features = 0xa20f10u;

  EXPECT_THAT(CpuidModel::create("x86-64-v2", 1)->lookup(1, 0).eax, testing::AnyOf(nehalem, zen3_by_features));
  EXPECT_THAT(CpuidModel::create("host", 1)->lookup(1, 0).eax,
              testing::AnyOf(nehalem, haswell, zen3_by_features));
}

TEST(CpuidModel, RefusesUnknownNamesAndNoVcpus) {
  EXPECT_EQ(CpuidModel::create("pentium", 1).error().code(), Errc::invalid);
  EXPECT_EQ(CpuidModel::create("host", 0).error().code(), Errc::invalid);
}

}  // namespace
}  // namespace vireo::x86
