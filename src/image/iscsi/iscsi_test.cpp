#include <gtest/gtest.h>

#include "host/file.h"
#include "host/test_folder.h"
#include "image/iscsi/iscsi_address.h"

namespace vireo::image::iscsi {
namespace {

TEST(IscsiAddress, TakesLoginPortalTargetAndUnit) {
  auto const address =
      parse_address("iscsi://me%a@b%25@[::1]:3261/iqn.2003-01.org.example:disk/7?digest=crc32c");

  ASSERT_TRUE(address) << address.error().what();
  EXPECT_EQ(address->user, "me");
  EXPECT_EQ(address->password, "a@b%25");
  EXPECT_EQ(address->portal, "[::1]:3261");
  EXPECT_EQ(address->target, "iqn.2003-01.org.example:disk");
  EXPECT_EQ(address->unit, 7);
  EXPECT_TRUE(address->digest);
}

TEST(IscsiAddress, ReadsThePasswordFromAFile) {
  auto const folder = host::TestFolder{};
  auto const file = folder / "password";
  ASSERT_TRUE(host::write_text(file, "secret\n"));

  auto const address = parse_address("iscsi://host/iqn.x:y/0?user=me&password-file=" + file);

  ASSERT_TRUE(address) << address.error().what();
  EXPECT_EQ(address->user, "me");
  EXPECT_EQ(address->password, "secret");
}

TEST(IscsiAddress, RefusesWhatNamesNoUnit) {
  for (auto const* const text :
       {"iscsi://host", "iscsi://host/iqn.x:y", "iscsi:///iqn.x:y/0", "iscsi://host/iqn.x:y/one",
        "iscsi://host/iqn.x:y/20000", "iscsi://me@host/iqn.x:y/0", "iscsi://host/iqn.x:y/0?digest=md5",
        "iscsi://host/iqn.x:y/0?size=1"}) {
    EXPECT_FALSE(parse_address(text)) << text;
  }
}

}  // namespace
}  // namespace vireo::image::iscsi
