#include "machine/spec.h"

#include <gtest/gtest.h>

namespace vireo::machine {
namespace {

constexpr auto head = "apiVersion: vireo/v1\nkind: Instance\nname: web\nspec:\n";

TEST(Spec, ReadsWhatItWrites) {
  auto config = MachineConfig{.name = "web", .cpus = 4};
  config.kernel = "vmlinuz";
  config.disks.push_back({.path = "a.qcow2", .format = "qcow2", .readonly = true});
  config.networks.push_back({.forward = {"2222:22"}});

  auto const again = read_spec(write_spec(config), "spec");

  ASSERT_TRUE(again) << again.error().what();
  EXPECT_EQ(write_spec(*again), write_spec(config));
  EXPECT_EQ(again->disks.at(0).path, "a.qcow2");
  EXPECT_EQ(again->networks.at(0).forward.at(0), "2222:22");
}

TEST(Spec, ReadsJson) {
  auto const config =
      read_spec(R"({"apiVersion":"vireo/v1","kind":"Instance","spec":{"cpus":2,"memory":"2GiB"}})", "x");

  ASSERT_TRUE(config) << config.error().what();
  EXPECT_EQ(config->cpus, 2u);
  EXPECT_EQ(config->memory.bytes, u64{2} << 30);
}

TEST(Spec, TakesDisksThatAreEncryptedAsAWhole) {
  auto config = MachineConfig{.kernel = "vmlinuz"};
  config.disks.push_back({.path = "a.luks", .format = "luks", .key_file = "key"});
  EXPECT_TRUE(check_config(config));
  config.disks[0].format = "luks3";
  EXPECT_FALSE(check_config(config));
}

TEST(Spec, NamesLineAndNearestKeyOfAnUnknownKey) {
  auto const config = read_spec(std::string{head} + "  cpus: 2\n  memroy: 1GiB\n", "vm.yaml");

  ASSERT_FALSE(config);
  EXPECT_EQ(config.error().what(),
            "vm.yaml: line 6: document.spec.memroy: unknown key; did you mean 'memory'?");
}

TEST(Spec, NamesTheLineOfABadValue) {
  auto const size = read_spec(std::string{head} + "  memory: lots\n", "vm.yaml");
  auto const boolean = read_spec(std::string{head} + "  reboot: yes\n", "vm.yaml");
  auto const syntax = read_spec("a: [\n", "vm.yaml");

  EXPECT_NE(size.error().what().find("line 5"), std::string::npos);
  EXPECT_NE(boolean.error().what().find("true or false"), std::string::npos);
  EXPECT_NE(syntax.error().what().find("vm.yaml: line"), std::string::npos);
}

TEST(Spec, ChecksRangesAndSaysThem) {
  auto config = MachineConfig{};
  config.kernel = "k";
  EXPECT_TRUE(check_config(config));

  config.cpus = 0;
  EXPECT_EQ(check_config(config).error().what(), "cpus: 0 is not within 1 and 64");
  config.cpus = 1;
  config.memory.bytes = 1024;
  EXPECT_NE(check_config(config).error().what().find("32MiB"), std::string::npos);
  config.memory.bytes = u64{1} << 30;
  config.engine = "kvm";
  EXPECT_EQ(check_config(config).error().code(), Errc::unsupported);
}

TEST(Spec, ChecksTheEngineAndItsCodeCache) {
  auto config = MachineConfig{};
  config.kernel = "k";
  for (auto const* const engine : {"software", "software,translate", "software,interpret", "software,verify"}) {
    config.engine = engine;
    EXPECT_TRUE(check_config(config)) << engine;
  }
  config.cpus = 2;
  EXPECT_NE(check_config(config).error().what().find("use cpus: 1"), std::string::npos);
  config.engine = "software";
  config.code_cache.bytes = u64{1} << 20;
  EXPECT_EQ(check_config(config).error().what(), "code_cache: 1MiB is not within 4MiB and 2GiB");
  config.code_cache.bytes = u64{4} << 20;
  EXPECT_TRUE(check_config(config));
}

}  // namespace
}  // namespace vireo::machine
