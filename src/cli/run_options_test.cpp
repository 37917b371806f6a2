#include "cli/run_options.h"

#include <gtest/gtest.h>

#include <array>
#include <cstdio>
#include <fstream>

namespace vireo::cli {
namespace {

TEST(RunOptions, TakesADisksLimits) {
  auto const request = parse_run(std::array{
      "debian", "--disk", "a.raw,iops=500,iops-burst=2000,bps=10MiB,bps-burst=1MiB,throttle-group=slow"});
  ASSERT_TRUE(request) << request.error().what();
  auto const& disk = request->config.disks.at(0);
  EXPECT_EQ(disk.iops, 500u);
  EXPECT_EQ(disk.iops_burst, 2000u);
  EXPECT_EQ(disk.bps.bytes, u64{10} << 20);
  EXPECT_EQ(disk.bps_burst.bytes, u64{1} << 20);
  EXPECT_EQ(disk.throttle_group, "slow");
  EXPECT_FALSE(parse_run(std::array{"debian", "--disk", "a.raw,iops=many"}));
}

TEST(RunOptions, FillsTheConfiguration) {
  auto const request =
      parse_run(std::array{"debian", "--cpus", "4", "--memory=2G", "--disk", "a,,b.raw,readonly,cache=none",
                           "--net", "user,forward=2222:22", "--no-reboot", "--dry-run"});

  ASSERT_TRUE(request) << request.error().what();
  EXPECT_EQ(request->config.image, "debian");
  EXPECT_EQ(request->config.cpus, 4u);
  EXPECT_EQ(request->config.memory.bytes, u64{2} << 30);
  EXPECT_EQ(request->config.disks.at(0).path, "a,b.raw");
  EXPECT_TRUE(request->config.disks.at(0).readonly);
  EXPECT_EQ(request->config.networks.at(0).forward.at(0), "2222:22");
  EXPECT_FALSE(request->config.reboot);
  EXPECT_TRUE(request->dry_run);
}

TEST(RunOptions, TakesWhatTheEngineIsToShow) {
  auto const request = parse_run(std::array{"--code-cache", "16M", "--trace", "blocks,counters", "--perf-map"});

  ASSERT_TRUE(request) << request.error().what();
  EXPECT_EQ(request->config.code_cache.bytes, u64{16} << 20);
  EXPECT_EQ(request->trace, "blocks,counters");
  EXPECT_TRUE(request->perf_map);
  EXPECT_FALSE(parse_run(std::array{"--trace", "everything"}));
}

TEST(RunOptions, GivesANatCardUnlessToldOtherwise) {
  EXPECT_EQ(parse_run({})->config.networks.size(), 1u);
  EXPECT_EQ(parse_run(std::array{"--net", "none"})->config.networks.size(), 0u);
}

TEST(RunOptions, FlagsChangeWhatTheSpecSays) {
  auto const path = testing::TempDir() + "vireo_run_options_test.yaml";
  std::ofstream{path} << "apiVersion: vireo/v1\nkind: Instance\nname: web\nspec:\n  cpus: 2\n  memory: 2GiB\n";

  auto const request = parse_run(std::array{"--cpus", "3", "--spec", path.c_str()});

  ASSERT_TRUE(request) << request.error().what();
  EXPECT_EQ(request->config.name, "web");
  EXPECT_EQ(request->config.cpus, 3u);
  EXPECT_EQ(request->config.memory.bytes, u64{2} << 30);
  std::remove(path.c_str());
}

TEST(RunOptions, SaysWhichOptionWasBadAndHowToMendIt) {
  EXPECT_NE(parse_run(std::array{"--memory", "lots"}).error().what().find("--memory: 'lots' is not a size"),
            std::string::npos);
  EXPECT_NE(parse_run(std::array{"--disk", "x,colour=red"}).error().what().find("temporary"),
            std::string::npos);
}

}  // namespace
}  // namespace vireo::cli
