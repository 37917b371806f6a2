#pragma once

#include <gtest/gtest.h>

#include <algorithm>
#include <random>
#include <thread>

#include "host/file.h"
#include "host/process.h"
#include "host/test_folder.h"
#include "image/open_image.h"
#include "vocab/numbers.h"

// For the tests of formats: an image and a flat copy of its disk are changed alike and compared.
namespace vireo::image::testing {

using host::TestFolder;
using Shadow = std::vector<std::byte>;

/// Runs a tool and yields what it prints; its failure fails the test.
inline std::string tool(std::vector<std::string> arguments) {
  auto const command = arguments.front();
  auto const result = host::run_process({.arguments = std::move(arguments),
                                         .output = host::Process::Stream::capture,
                                         .error = host::Process::Stream::capture});
  EXPECT_TRUE(result) << result.error().what();
  if (!result) return {};
  EXPECT_TRUE(result->status.success()) << command << ": " << result->output << result->error;
  return result->output;
}

inline std::unique_ptr<BlockImage> opened(std::string const& path, OpenOptions const& options = {}) {
  auto image = open_image(path, options);
  EXPECT_TRUE(image) << image.error().what();
  return image ? std::move(*image) : nullptr;
}

inline void expect_same(BlockImage& image, Shadow const& shadow) {
  auto bytes = Shadow(shadow.size());
  auto const read = image.read(0, bytes);
  ASSERT_TRUE(read) << read.error().what();
  auto const [here, there] = std::ranges::mismatch(bytes, shadow);
  EXPECT_TRUE(here == bytes.end()) << "differs at " << here - bytes.begin();
}

/// As QEMU reads it. `format` is QEMU's name.
inline void expect_same_as_qemu_reads(TestFolder const& folder, std::string const& path,
                                      std::string const& format, Shadow const& shadow) {
  // A data file's name counts from where QEMU runs.
  tool({"env", "-C", folder / "", "qemu-img", "convert", "-f", format, "-O", "raw", path, folder / "flat.raw"});
  auto const flat = host::read_text(folder / "flat.raw", 1 << 30);
  ASSERT_TRUE(flat);
  ASSERT_EQ(flat->size(), shadow.size());
  EXPECT_TRUE(std::memcmp(flat->data(), shadow.data(), shadow.size()) == 0);
}

inline void write_flat(std::string const& path, Shadow const& shadow) {
  ASSERT_TRUE(
      host::write_text(path, std::string_view{reinterpret_cast<char const*>(shadow.data()), shadow.size()}));
}

inline Shadow file_bytes(std::string const& path) {
  auto const file = host::File::open(path, {});
  auto bytes = Shadow(*file->size());
  EXPECT_TRUE(file->read(0, bytes));
  return bytes;
}

inline Shadow noise(std::size_t count, std::mt19937_64& random) {
  auto bytes = Shadow(count);
  auto value = u64{0};
  for (auto at = std::size_t{0}; at < count; ++at, value >>= 8) {
    if (at % 8 == 0) value = random();
    bytes[at] = static_cast<std::byte>(value | 1);
  }
  return bytes;
}

struct Range {
  u64 at{};
  u64 length{};
};
/// Whole sectors as a rule, any bytes at times; longer than a block at times.
inline Range random_range(u64 bytes, u64 block, std::mt19937_64& random) {
  auto const unit = random() % 8 == 0 ? u64{1} : u64{512};
  auto const at = random() % bytes / unit * unit;
  auto const longest = random() % 4 == 0 ? 3 * block : u64{16384};
  return {at, std::min((random() % longest / unit + 1) * unit, bytes - at)};
}

/// One random write, zeroing, discard, flush or comparison on both. A discard is a hint: what the image then
/// reads, zeroes or as before, holds from there on.
inline void change(BlockImage& image, Shadow& shadow, std::mt19937_64& random) {
  auto const [at, length] = random_range(shadow.size(), image.geometry().cluster, random);
  auto const part = Bytes{shadow}.subspan(at, length);
  switch (random() % 10) {
    case 0: {
      auto const discarded = image.discard(at, length);
      ASSERT_TRUE(discarded) << discarded.error().what();
      auto bytes = Shadow(length);
      ASSERT_TRUE(image.read(at, bytes));
      for (auto each = std::size_t{0}; each < length; ++each) {
        ASSERT_TRUE(bytes[each] == part[each] || bytes[each] == std::byte{0}) << "at " << at + each;
      }
      std::ranges::copy(bytes, part.begin());
      break;
    }
    case 1:
    case 2: {
      auto const zeroed = image.write_zeroes(at, length, random() % 2 == 0);
      ASSERT_TRUE(zeroed) << zeroed.error().what();
      std::ranges::fill(part, std::byte{0});
      break;
    }
    case 3: ASSERT_TRUE(image.flush()); break;
    case 4:
    case 5: {
      auto bytes = Shadow(length);
      ASSERT_TRUE(image.read(at, bytes));
      ASSERT_TRUE(std::ranges::equal(bytes, part)) << length << " bytes at " << at;
      break;
    }
    default: {
      auto const bytes = noise(length, random);
      auto const written = image.write(at, bytes);
      ASSERT_TRUE(written) << written.error().what();
      std::ranges::copy(bytes, part.begin());
    }
  }
}

/// What extent_at says must cover the disk, and zero must read as zeroes.
inline void expect_honest_extents(BlockImage& image, Shadow const& shadow) {
  for (auto at = u64{0}; at < shadow.size();) {
    auto const extent = image.extent_at(at);
    ASSERT_TRUE(extent) << extent.error().what();
    ASSERT_EQ(extent->start, at);
    ASSERT_GT(extent->length, 0u);
    ASSERT_LE(extent->length, shadow.size() - at);
    auto const part = ConstBytes{shadow}.subspan(at, extent->length);
    auto const zero = std::ranges::all_of(part, [](std::byte byte) { return byte == std::byte{0}; });
    ASSERT_TRUE(zero || extent->presence != BlockImage::Presence::zero) << "at " << at;
    at += extent->length;
  }
}

/// Batches of random changes, the image opened anew for each, compared after each.
inline void change_in_batches(std::string const& path, OpenOptions const& options, Shadow& shadow, u64 seed,
                              int batches, int changes) {
  auto random = std::mt19937_64{seed};
  for (auto batch = 0; batch < batches && !::testing::Test::HasFatalFailure(); ++batch) {
    auto const image = opened(path, options);
    ASSERT_TRUE(image);
    ASSERT_EQ(image->geometry().bytes, shadow.size());
    for (auto step = 0; step < changes && !::testing::Test::HasFatalFailure(); ++step) {
      change(*image, shadow, random);
    }
    expect_same(*image, shadow);
    expect_honest_extents(*image, shadow);
  }
  auto const image = opened(path, options);
  ASSERT_TRUE(image);
  expect_same(*image, shadow);
}

/// A stretch of a disk as a disk.
class Slice final : public BlockImage {
 public:
  Slice(BlockImage& disk, u64 start, u64 bytes) : disk_{disk}, start_{start}, bytes_{bytes} {}
  Geometry geometry() const override {
    auto geometry = disk_.geometry();
    geometry.bytes = bytes_;
    return geometry;
  }
  Result<> read(u64 at, Bytes into) override { return disk_.read(start_ + at, into); }
  Result<> write(u64 at, ConstBytes from) override { return disk_.write(start_ + at, from); }
  Result<> write_zeroes(u64 at, u64 length, bool may_unmap) override {
    return disk_.write_zeroes(start_ + at, length, may_unmap);
  }
  Result<> discard(u64 at, u64 length) override { return disk_.discard(start_ + at, length); }
  Result<> flush() override { return disk_.flush(); }
  Result<Extent> extent_at(u64 at) override { return disk_.extent_at(start_ + at); }

 private:
  BlockImage& disk_;
  u64 start_;
  u64 bytes_;
};

/// Four threads change a quarter of the disk each; the quarters meet inside blocks.
inline void change_from_threads(BlockImage& disk, Shadow& shadow, int changes) {
  auto const quarter = shadow.size() / 4 / 512 * 512 - 512;
  auto threads = std::vector<std::thread>{};
  for (auto number = u64{0}; number < 4; ++number) {
    threads.emplace_back([&disk, &shadow, changes, quarter, number] {
      auto random = std::mt19937_64{number};
      auto slice = Slice{disk, number * quarter, quarter};
      auto const part = Bytes{shadow}.subspan(number * quarter, quarter);
      auto copy = Shadow{part.begin(), part.end()};
      for (auto step = 0; step < changes && !::testing::Test::HasFatalFailure(); ++step)
        change(slice, copy, random);
      std::ranges::copy(copy, part.begin());
    });
  }
  for (auto& thread : threads) thread.join();
}

}  // namespace vireo::image::testing
