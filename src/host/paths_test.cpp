#include "host/paths.h"

#include <gtest/gtest.h>
#include <stdlib.h>

namespace vireo::host {
namespace {

TEST(Paths, VireoHomeGoesBeforeAllElse) {
  ::setenv("VIREO_HOME", "/somewhere/else", 1);
  EXPECT_EQ(home_folder(), "/somewhere/else");
  ::unsetenv("VIREO_HOME");
  EXPECT_NE(home_folder(), "/somewhere/else");
}

}  // namespace
}  // namespace vireo::host
