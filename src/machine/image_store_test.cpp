#include "machine/image_store.h"

#include <gtest/gtest.h>

#include "host/test_folder.h"
#include "machine/debian_mirror.h"
#include "machine/debian_recipe.h"

namespace vireo::machine {
namespace {

StoredImage sample(std::string const& name) {
  return {.name = name,
          .release = "debian bookworm",
          .disk = "disk.raw",
          .disk_format = "raw",
          .kernel = "vmlinuz",
          .initrd = "initrd.img",
          .command_line = "root=LABEL=\"x\" rw"};
}

TEST(ImageStore, FindsAPublishedImageWithAbsolutePaths) {
  auto const folder = host::TestFolder{};
  auto const store = ImageStore{folder.path()};
  ASSERT_TRUE(store.draft("debian")->publish(sample("debian")));
  auto const image = store.find("debian");
  ASSERT_TRUE(image) << image.error().what();
  EXPECT_EQ(image->disk, folder / "debian/disk.raw");
  EXPECT_EQ(image->command_line, "root=LABEL=\"x\" rw");
  EXPECT_EQ(store.list()->size(), 1u);
}

TEST(ImageStore, ForgetsADraftThatWasNotPublished) {
  auto const folder = host::TestFolder{};
  auto const store = ImageStore{folder.path()};
  {
    auto const draft = store.draft("debian");
    ASSERT_TRUE(host::write_text(draft->folder() + "/half", "built"));
    EXPECT_TRUE(store.list()->empty());
    EXPECT_EQ(store.draft("debian").error().code(), Errc::busy);
  }
  EXPECT_TRUE(store.draft("debian"));
  EXPECT_TRUE(store.list()->empty());
}

TEST(ImageStore, RefusesToBuildOverAnImage) {
  auto const folder = host::TestFolder{};
  auto const store = ImageStore{folder.path()};
  ASSERT_TRUE(store.draft("debian")->publish(sample("debian")));
  EXPECT_EQ(store.draft("debian").error().code(), Errc::busy);
  ASSERT_TRUE(store.remove("debian"));
  EXPECT_TRUE(store.draft("debian"));
}

TEST(ImageStore, KeepsAnImageThatAMachineReads) {
  auto const folder = host::TestFolder{};
  auto const store = ImageStore{folder.path()};
  auto draft = store.draft("debian");
  ASSERT_TRUE(host::write_text(draft->folder() + "/disk.raw", "disk"));
  ASSERT_TRUE(draft->publish(sample("debian")));
  {
    auto const user = host::File::open(store.find("debian")->disk, {});
    ASSERT_TRUE(user->lock(host::File::Lock::shared));
    EXPECT_EQ(store.remove("debian").error().code(), Errc::busy);
  }
  EXPECT_TRUE(store.remove("debian"));
}

TEST(ImageStore, NamesTheNearestImageWhenThereIsNoSuchOne) {
  auto const folder = host::TestFolder{};
  auto const store = ImageStore{folder.path()};
  ASSERT_TRUE(store.draft("debian")->publish(sample("debian")));
  auto const result = store.find("debain");
  ASSERT_FALSE(result);
  EXPECT_EQ(result.error().code(), Errc::not_found);
  EXPECT_NE(result.error().what().find("did you mean 'debian'"), std::string::npos);
}

TEST(ImageStore, RefusesNamesThatLeaveTheStore) {
  auto const folder = host::TestFolder{};
  auto const store = ImageStore{folder.path()};
  EXPECT_EQ(store.find("../debian").error().code(), Errc::invalid);
  EXPECT_EQ(store.remove("").error().code(), Errc::invalid);
  EXPECT_EQ(store.remove(".debian.lock").error().code(), Errc::invalid);
}

TEST(DebianMirror, TakesTheHostsMirrorsForAnotherRelease) {
  auto const lines = debian_sources("trixie",
                                    "Debian|main|http://mirror.example/debian/\n"
                                    "Debian|contrib|http://other.example/debian/\n"
                                    "Debian-Security|main|http://mirror.example/security/\n");
  EXPECT_EQ(lines, (std::vector<std::string>{"deb http://mirror.example/debian/ trixie main",
                                             "deb http://mirror.example/debian/ trixie-updates main",
                                             "deb http://mirror.example/security/ trixie-security main"}));
}

TEST(DebianMirror, LeavesTheChoiceToTheToolOnAHostWithoutDebian) {
  EXPECT_TRUE(debian_sources("bookworm", "Ubuntu|main|http://mirror.example/ubuntu/\n").empty());
}

TEST(DebianRecipe, QuotesPasswordsForTheShell) { EXPECT_EQ(shell_quoted("it's $HOME"), "'it'\\''s $HOME'"); }

}  // namespace
}  // namespace vireo::machine
