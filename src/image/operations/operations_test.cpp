#include <gmock/gmock.h>

#include <map>

#include "image/operations/check.h"
#include "image/operations/compare.h"
#include "image/operations/convert.h"
#include "image/operations/layers.h"
#include "image/operations/resize.h"
#include "image/operations/snapshot.h"
#include "image/testing/random_disk.h"

// Every operation on every format, with qemu-img as the independent witness of what the image holds.
namespace vireo::image {
namespace {

using namespace image::testing;  // NOLINT: the tests' own vocabulary
using ::testing::HasSubstr;

constexpr auto following = OpenOptions{.follow_references = true};

struct Kind {
  std::string name;
  std::string format;
  std::map<std::string, std::string> options{};
  std::string qemu() const { return format == "vhd" ? "vpc" : format; }
};
void PrintTo(Kind const& kind, std::ostream* stream) { *stream << kind.name; }

auto const all_kinds = std::vector<Kind>{
    {"raw", "raw"},
    {"qcow2", "qcow2"},
    {"qcow2 of small clusters", "qcow2", {{"cluster_size", "4096"}, {"refcount_bits", "64"}}},
    {"qcow2 of subclusters", "qcow2", {{"extended_l2", "on"}}},
    {"qcow2 of small subclusters", "qcow2", {{"extended_l2", "on"}, {"cluster_size", "16384"}}},
    {"qcow2 with a data file", "qcow2", {{"data_file", "disk.data"}}},
    {"qcow2 with a raw data file", "qcow2", {{"data_file", "disk.data"}, {"data_file_raw", "on"}}},
    {"qcow2 of subclusters with a data file", "qcow2", {{"data_file", "disk.data"}, {"extended_l2", "on"}}},
    {"qcow2 version 2", "qcow2", {{"compat", "0.10"}}},
    {"vmdk", "vmdk"},
    {"vmdk that knows zero", "vmdk", {{"zeroed_grain", "on"}}},
    {"vmdk, flat", "vmdk", {{"subformat", "monolithicFlat"}}},
    {"vmdk, split", "vmdk", {{"subformat", "twoGbMaxExtentSparse"}}},
    {"vmdk, split and flat", "vmdk", {{"subformat", "twoGbMaxExtentFlat"}}},
    {"vmdk, stream optimized", "vmdk", {{"subformat", "streamOptimized"}}},
    {"vdi", "vdi"},
    {"vdi, fixed", "vdi", {{"static", "on"}}},
    {"vhd", "vhd"},
    {"vhd, fixed", "vhd", {{"subformat", "fixed"}}},
    {"vhdx", "vhdx"},
    {"vhdx, fixed", "vhdx", {{"subformat", "fixed"}}},
};

Shadow patterned(u64 bytes, u64 seed) {
  auto random = std::mt19937_64{seed};
  auto shadow = Shadow(bytes);
  for (auto part = 0; part < 12; ++part) {
    auto const [at, length] = random_range(bytes, 256 * KiB, random);
    std::ranges::copy(noise(length, random), shadow.begin() + static_cast<i64>(at));
  }
  return shadow;
}

class Operations : public ::testing::TestWithParam<Kind> {
 protected:
  Kind const& kind() const { return GetParam(); }
  std::string path() const { return folder_ / ("disk." + kind().format); }
  void create(u64 bytes, Backing const& backing = {}) const {
    auto const made = create_image({.path = path(),
                                    .format = kind().format,
                                    .bytes = bytes,
                                    .backing = backing,
                                    .options = kind().options});
    ASSERT_TRUE(made) << made.error().what();
  }
  std::unique_ptr<BlockImage> open(CacheMode cache = CacheMode::unsafe) const {
    return opened(path(), {.format = kind().format, .cache = cache, .follow_references = true});
  }
  void write(Shadow const& shadow) const {
    auto const image = open();
    ASSERT_TRUE(image);
    ASSERT_TRUE(image->write(0, shadow));
    ASSERT_TRUE(image->flush());
  }
  void expect_content(Shadow const& shadow) const {
    auto const image = open();
    ASSERT_TRUE(image);
    ASSERT_EQ(image->geometry().bytes, shadow.size());
    expect_same(*image, shadow);
  }
  void expect_qemu_agrees(Shadow const& shadow) const {
    expect_same_as_qemu_reads(folder_, path(), kind().qemu(), shadow);
  }
  void expect_clean() const {
    if (kind().format == "raw") return;
    auto const report = check_image(path(), kind().format, Repair::none);
    ASSERT_TRUE(report) << report.error().what();
    EXPECT_TRUE(report->clean()) << ::testing::PrintToString(report->findings);
  }
  Result<> resize(u64 bytes, bool shrink = false) const {
    return resize_image(
        {.path = path(), .format = kind().format, .bytes = bytes, .shrink = shrink, .follow_references = true});
  }
  u64 taken() const {
    auto description = *describe_image(path(), kind().format);
    if (!description.data_file.empty()) description.files.push_back(description.data_file);
    return host_bytes(description);
  }
  TestFolder folder_;
};
INSTANTIATE_TEST_SUITE_P(All, Operations, ::testing::ValuesIn(all_kinds));

TEST_P(Operations, ResizeGivesZeroesAndTakesThemBack) {
  auto shadow = patterned(5 * MiB + 512, 1);
  create(shadow.size());
  write(shadow);
  for (auto const bytes : {9 * MiB, 40 * MiB + 1024, 3 * MiB + 512, 12 * MiB}) {
    auto const resized = resize(bytes, true);
    ASSERT_TRUE(resized) << bytes << ": " << resized.error().what();
    shadow.resize(bytes);
    expect_content(shadow);
    expect_clean();
    open()->write(bytes - 4096, Shadow(4096, std::byte{0x77}));
    std::fill(shadow.end() - 4096, shadow.end(), std::byte{0x77});
  }
  expect_qemu_agrees(shadow);
}

TEST_P(Operations, ResizeOverTheTablesOfASmallImageKeepsContent) {
  auto const shadow = patterned(3 * MiB, 2);
  if (kind().name.find("flat") != std::string::npos || kind().name.find("fixed") != std::string::npos)
    GTEST_SKIP() << "there are no tables that the new size could outgrow";
  create(shadow.size());
  write(shadow);
  constexpr auto far = 700 * GiB;
  auto const resized = resize(far);
  ASSERT_TRUE(resized) << resized.error().what();
  auto bytes = Shadow(shadow.size());
  {
    auto const image = open();
    ASSERT_TRUE(image->write(far - 512, Shadow(512, std::byte{9})));
    ASSERT_TRUE(image->read(0, bytes));
  }
  EXPECT_TRUE(bytes == shadow);
  expect_clean();
  tool({"env", "-C", folder_ / "", "qemu-io", "-r", "-f", kind().qemu(), "-c", "read -P 9 751619276288 512",
        path()});
  ASSERT_TRUE(resize(shadow.size(), true));
  expect_content(shadow);
  expect_qemu_agrees(shadow);
}

TEST_P(Operations, ResizeRefusesToLoseDataUnlessToldTo) {
  create(4 * MiB);
  write(Shadow(4 * MiB, std::byte{1}));
  auto const refused = resize(2 * MiB);
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().code(), Errc::denied);
  EXPECT_THAT(refused.error().what(), HasSubstr("--shrink"));
  EXPECT_TRUE(resize(2 * MiB, true));
  expect_content(Shadow(2 * MiB, std::byte{1}));
}

TEST_P(Operations, DiscardGivesSpaceBackToTheHost) {
  create(16 * MiB);
  write(Shadow(16 * MiB, std::byte{1}));
  ASSERT_GT(taken(), kind().name.ends_with("optimized") ? 0 : 15 * MiB);
  {
    auto const image = open();
    ASSERT_TRUE(image->discard(0, 16 * MiB));
    ASSERT_TRUE(image->flush());
  }
  EXPECT_LT(taken(), 2 * MiB);
  expect_clean();
}

TEST_P(Operations, ConvertKeepsContentAndHolesFromAndToEveryFormat) {
  auto const shadow = patterned(6 * MiB + 512, 3);
  create(shadow.size());
  write(shadow);
  for (auto const& target : all_kinds) {
    auto const out = folder_ / ("out." + target.format);
    auto options = target.options;
    if (options.contains("data_file")) options["data_file"] = "out.data";
    auto const converted = convert_image({.source = path(),
                                          .source_format = kind().format,
                                          .target = {.path = out, .format = target.format, .options = options},
                                          .jobs = 2});
    ASSERT_TRUE(converted) << target.name << ": " << converted.error().what();
    expect_same(*opened(out, {.format = target.format}), shadow);
    auto const description = describe_image(out, target.format);
    for (auto const& name : description->files) ::unlink(name.c_str());
    if (!description->data_file.empty()) ::unlink(description->data_file.c_str());
  }
  convert_image(
      {.source = path(), .source_format = kind().format, .target = {.path = folder_ / "out", .format = "raw"}});
  auto const description = describe_image(folder_ / "out", "raw");
  EXPECT_LT(host_bytes(*description), 4 * MiB);
}

TEST_P(Operations, SnapshotsBringOldStatesBackUnderRandomChangesAndResizes) {
  auto random = std::mt19937_64{4};
  auto shadow = Shadow(4 * MiB);
  auto states = std::map<std::string, Shadow>{};
  auto const target = SnapshotTarget{.path = path(), .format = kind().format};
  create(shadow.size());
  // 60 changes each; VIREO_CHANGES: how many in all.
  auto const* const wanted = std::getenv("VIREO_CHANGES");
  auto const rounds = wanted == nullptr ? 40 : std::atoi(wanted) / 60 + 1;
  for (auto round = 0; round < rounds && !HasFailure(); ++round) {
    {
      auto const image = open();
      ASSERT_TRUE(image);
      for (auto step = 0; step < 60 && !HasFatalFailure(); ++step) change(*image, shadow, random);
    }
    auto const name = "s" + std::to_string(random() % 5);
    auto const known = states.contains(name);
    switch (random() % 4) {
      case 0:
        if (known) break;
        ASSERT_TRUE(create_snapshot(target, name));
        states[name] = shadow;
        break;
      case 1:
        if (!known || (kind().name == "qcow2 version 2" && states[name].size() != shadow.size())) break;
        ASSERT_TRUE(apply_snapshot(target, name));
        shadow = states[name];
        break;
      case 2:
        if (!known) break;
        ASSERT_TRUE(delete_snapshot(target, name));
        states.erase(name);
        break;
      default: {
        if (kind().name == "qcow2 version 2" && !states.empty()) break;
        auto const bytes = align_up(random() % (8 * MiB) + 1, 512);
        auto const resized = resize(bytes, true);
        ASSERT_TRUE(resized) << resized.error().what();
        shadow.resize(bytes);
      }
    }
    expect_content(shadow);
    expect_clean();
  }
  ASSERT_EQ(list_snapshots(target)->size(), states.size());
  for (auto const& [name, state] : states) {
    auto const image = opened(path(), {.format = kind().format, .snapshot = name});
    ASSERT_TRUE(image);
    expect_same(*image, state);
  }
  expect_qemu_agrees(shadow);
  if (kind().format == "qcow2")
    tool({"env", "-C", folder_ / "", "qemu-img", "check", "-q", "-f", "qcow2", path()});
}

class Overlays : public Operations {};
INSTANTIATE_TEST_SUITE_P(
    All, Overlays,
    ::testing::Values(Kind{"qcow2", "qcow2"}, Kind{"qcow2 of subclusters", "qcow2", {{"extended_l2", "on"}}},
                      Kind{"vmdk", "vmdk"}, Kind{"vmdk that knows zero", "vmdk", {{"zeroed_grain", "on"}}},
                      Kind{"vmdk in several files", "vmdk", {{"subformat", "twoGbMaxExtentSparse"}}},
                      Kind{"vdi", "vdi"}, Kind{"vhd", "vhd"}, Kind{"vhdx", "vhdx"}));

TEST_P(Overlays, KeepTheirDiskThroughRebaseAndBringItDownByCommit) {
  auto const format = kind().format;
  auto const base = "base." + format;
  auto const other = "other." + format;
  auto shadow = patterned(6 * MiB, 5);
  for (auto const& [name, seed] : {std::pair{base, 5}, std::pair{other, 6}}) {
    ASSERT_TRUE(create_image({.path = folder_ / name, .format = format, .bytes = 6 * MiB}));
    ASSERT_TRUE(opened(folder_ / name)->write(0, patterned(6 * MiB, static_cast<u64>(seed))));
  }
  create(0, {.path = base, .format = format});
  {
    auto const image = open();
    auto random = std::mt19937_64{7};
    for (auto step = 0; step < 40 && !HasFatalFailure(); ++step) change(*image, shadow, random);
  }
  expect_content(shadow);
  EXPECT_EQ(open_image(path()).error().code(), Errc::denied);

  auto rebased = rebase_image({.path = path(), .backing = {other, format}, .follow_references = true});
  ASSERT_TRUE(rebased) << rebased.error().what();
  expect_content(shadow);
  expect_clean();
  ASSERT_TRUE(resize(9 * MiB));
  shadow.resize(9 * MiB);
  expect_content(shadow);

  auto const committed = commit_image({.path = path()});
  ASSERT_TRUE(committed) << committed.error().what();
  expect_content(shadow);
  expect_same(*opened(folder_ / other), shadow);
  EXPECT_EQ(check_image(path(), format, Repair::none)->allocated, 0u);

  ASSERT_TRUE(open()->write(0, Shadow(4096, std::byte{8})));
  std::fill_n(shadow.begin(), 4096, std::byte{8});
  rebased = rebase_image({.path = path(), .backing = {}, .follow_references = true});
  ASSERT_TRUE(rebased) << rebased.error().what();
  ASSERT_TRUE(open_image(path()));
  expect_content(shadow);
  expect_qemu_agrees(shadow);
}

TEST_P(Overlays, LongerThanTheirBaseReadZeroesBehindItAndAfterGrowing) {
  auto const format = kind().format;
  ASSERT_TRUE(create_image({.path = folder_ / ("base." + format), .format = format, .bytes = 8 * MiB}));
  ASSERT_TRUE(opened(folder_ / ("base." + format))->write(0, Shadow(8 * MiB, std::byte{1})));
  create(0, {.path = "base." + format, .format = format});
  ASSERT_TRUE(resize(4 * MiB, true));
  auto shadow = Shadow(4 * MiB, std::byte{1});
  expect_content(shadow);
  ASSERT_TRUE(resize(12 * MiB));
  shadow.resize(12 * MiB);
  expect_content(shadow);
}

TEST_P(Overlays, MapTellsWhichLayerAnswers) {
  auto const format = kind().format;
  ASSERT_TRUE(create_image({.path = folder_ / ("base." + format), .format = format, .bytes = 16 * MiB}));
  ASSERT_TRUE(opened(folder_ / ("base." + format))->write(4 * MiB, Shadow(4 * MiB, std::byte{1})));
  create(0, {.path = "base." + format, .format = format});
  ASSERT_TRUE(open()->write(0, Shadow(4 * MiB, std::byte{2})));
  auto const map = map_image(path(), format, true);
  ASSERT_TRUE(map) << map.error().what();
  auto const at = [&](u64 start) { return *(std::ranges::upper_bound(*map, start, {}, &MapEntry::start) - 1); };
  EXPECT_EQ(at(4 * MiB - 1).depth, 0u);
  EXPECT_TRUE(at(0).data && at(0).offset);
  EXPECT_EQ(at(4 * MiB).depth, 1u);
  EXPECT_TRUE(at(4 * MiB).data && at(4 * MiB).present);
  EXPECT_EQ(at(8 * MiB).start, 8 * MiB);
  EXPECT_TRUE(at(8 * MiB).zero && !at(8 * MiB).data);
}

TEST(Convert, PacksClustersThatQemuUnpacks) {
  auto const folder = TestFolder{};
  auto shadow = patterned(8 * MiB, 8);
  std::fill_n(shadow.begin(), 2 * MiB, std::byte{0x33});
  write_flat(folder / "source", shadow);
  for (auto const* type : {"zlib", "zstd"}) {
    auto const out = folder / type;
    ASSERT_TRUE(
        convert_image({.source = folder / "source",
                       .source_format = "raw",
                       .target = {.path = out, .format = "qcow2", .options = {{"compression_type", type}}},
                       .compress = true,
                       .jobs = 3}));
    expect_same_as_qemu_reads(folder, out, "qcow2", shadow);
    tool({"qemu-img", "check", "-q", "-f", "qcow2", out});
    EXPECT_GE(check_image(out, "qcow2", Repair::none)->compressed, 32u);
    change_in_batches(out, {.format = "qcow2"}, shadow, 9, 2, 60);
    tool({"qemu-img", "check", "-q", "-f", "qcow2", out});
    shadow = patterned(8 * MiB, 8);
    std::fill_n(shadow.begin(), 2 * MiB, std::byte{0x33});
  }
}

TEST(Convert, LeavesNothingBehindWhenItFails) {
  auto const folder = TestFolder{};
  write_flat(folder / "source", Shadow(1 * MiB, std::byte{1}));
  auto const refused =
      convert_image({.source = folder / "source",
                     .source_format = "raw",
                     .target = {.path = folder / "out", .format = "qcow2", .bytes = 512 * KiB}});
  EXPECT_EQ(refused.error().code(), Errc::no_space);
  EXPECT_FALSE(host::File::open(folder / "out", {}));
}

TEST(Compare, FindsTheFirstDifferenceAndTreatsAMissingEndAsZeroes) {
  auto const folder = TestFolder{};
  auto shadow = patterned(5 * MiB, 10);
  write_flat(folder / "one", shadow);
  shadow.resize(6 * MiB);
  write_flat(folder / "other", shadow);
  auto const compare = [&] { return *compare_disks(*opened(folder / "one"), *opened(folder / "other")); };
  EXPECT_TRUE(compare().equal && compare().sizes_differ);
  shadow[5 * MiB + 700] = std::byte{1};
  write_flat(folder / "other", shadow);
  EXPECT_EQ(compare().offset, 5 * MiB + 700);
}

TEST(Measure, AgreesWithQemuAboutQcow2) {
  for (auto const* size : {"1M", "1G", "3T"}) {
    for (auto const cluster : {512u, 65536u, 2097152u}) {
      if (std::string_view{size} == "3T" && cluster == 512) continue;
      auto const bytes = size[1] == 'M' ? MiB : size[1] == 'G' ? GiB : 3072 * GiB;
      auto const ours = measure_image({.format = "qcow2", .bytes = bytes, .cluster = cluster});
      ASSERT_TRUE(ours);
      auto const theirs = tool({"qemu-img", "measure", "-O", "qcow2", "-o",
                                "cluster_size=" + std::to_string(cluster), "--size", size});
      EXPECT_THAT(theirs, HasSubstr("required size: " + std::to_string(ours->required) + "\n"));
      EXPECT_THAT(theirs, HasSubstr("fully allocated size: " + std::to_string(ours->fully_allocated) + "\n"));
    }
  }
}

TEST(Measure, TellsTheSizeThatConvertMakes) {
  auto random = std::mt19937_64{11};
  for (auto const* format : {"vmdk", "vhd", "vhdx", "vdi"}) {
    for (auto const bytes : {MiB, 5 * MiB + 512, 900 * MiB + 4096, 1100 * GiB}) {
      auto const folder = TestFolder{};
      ASSERT_TRUE(create_image({.path = folder / "source", .format = "raw", .bytes = bytes}));
      {
        auto const source = opened(folder / "source", {.format = "raw"});
        for (auto each = 0; each < 12; ++each)
          ASSERT_TRUE(source->write(random() % (bytes / 4096) * 4096, Shadow(4096, std::byte{1})));
      }
      auto const source = opened(folder / "source", {.format = "raw", .read_only = true});
      auto const measured = measure_image({.format = format, .bytes = bytes, .source = source.get()});
      ASSERT_TRUE(measured);
      ASSERT_TRUE(convert_image({.source = folder / "source",
                                 .source_format = "raw",
                                 .target = {.path = folder / "out", .format = format}}));
      EXPECT_EQ(*host::File::open(folder / "out", {})->size(), measured->required) << format << " of " << bytes;
      auto const empty = measure_image({.format = format, .bytes = bytes});
      ASSERT_TRUE(create_image({.path = folder / "empty", .format = format, .bytes = bytes}));
      EXPECT_EQ(*host::File::open(folder / "empty", {})->size(), empty->required) << format << " of " << bytes;
    }
  }
}

}  // namespace
}  // namespace vireo::image
