#include <cstdlib>
#include <map>

#include "image/backend.h"
#include "image/operations/create.h"
#include "image/operations/resize.h"
#include "image/operations/snapshot.h"
#include "image/testing/random_disk.h"

// A disk on another machine, changed at random beside a flat copy. tests/image starts the servers, and gives
// the address in VIREO_REMOTE_DISK and the format in VIREO_REMOTE_FORMAT; VIREO_CHANGES: how many in all.
namespace vireo::image {
namespace {

using namespace testing;  // NOLINT: the tests' own vocabulary

class RemoteDisk : public ::testing::Test {
 protected:
  void SetUp() override {
    auto const* const url = std::getenv("VIREO_REMOTE_DISK");
    if (url == nullptr) GTEST_SKIP() << "run by tests/image/*_test.py, which start a server for it";
    url_ = url;
    format_ = std::getenv("VIREO_REMOTE_FORMAT");
    auto const* const changes = std::getenv("VIREO_CHANGES");
    changes_ = changes != nullptr ? std::atoi(changes) : 400;
  }
  Shadow content() const {
    auto const image = opened(url_, {.format = format_});
    auto shadow = Shadow(image ? image->geometry().bytes : 0);
    EXPECT_TRUE(image != nullptr && image->read(0, shadow));
    return shadow;
  }

  std::string url_;
  std::string format_;
  int changes_{};
};

TEST_F(RemoteDisk, KeepsItsContentUnderRandomChanges) {
  auto shadow = content();
  change_in_batches(url_, {.format = format_}, shadow, 11, 4, changes_ / 8);
}

TEST_F(RemoteDisk, KeepsItsContentUnderChangesFromFourThreads) {
  auto shadow = content();
  {
    auto const image = opened(url_, {.format = format_});
    ASSERT_TRUE(image);
    change_from_threads(*image, shadow, changes_ / 8);
    expect_same(*image, shadow);
    ASSERT_TRUE(image->flush());
  }
  EXPECT_TRUE(content() == shadow);
}

TEST_F(RemoteDisk, KeepsSnapshotsUnderChangesAndResizes) {
  if (format_ != "qcow2" || !holds_files(url_)) GTEST_SKIP() << "only an image that grows has them there";
  auto random = std::mt19937_64{12};
  auto shadow = content();
  auto states = std::map<std::string, Shadow>{};
  auto const target = SnapshotTarget{.path = url_, .format = format_};
  for (auto round = 0; round < changes_ / 60 && !HasFailure(); ++round) {
    {
      auto const image = opened(url_, {.format = format_});
      ASSERT_TRUE(image);
      for (auto step = 0; step < 60 && !HasFatalFailure(); ++step) change(*image, shadow, random);
    }
    auto const name = "s" + std::to_string(random() % 3);
    auto const known = states.contains(name);
    auto const choice = random() % 3;
    if (choice == 0 && !known) {
      ASSERT_TRUE(create_snapshot(target, name));
      states[name] = shadow;
    } else if (choice == 1 && known) {
      ASSERT_TRUE(apply_snapshot(target, name));
      shadow = states[name];
    } else {
      auto const bytes = align_up(random() % (8 * MiB) + MiB, 512);
      auto const resized = resize_image({.path = url_, .format = format_, .bytes = bytes, .shrink = true});
      ASSERT_TRUE(resized) << resized.error().what();
      shadow.resize(bytes);
    }
    ASSERT_TRUE(content() == shadow);
  }
  for (auto const& [name, state] : states)
    expect_same(*opened(url_, {.format = format_, .snapshot = name}), state);
}

}  // namespace
}  // namespace vireo::image
