#pragma once

#include <gtest/gtest.h>

#include <algorithm>
#include <random>
#include <string>
#include <vector>

#include "host/file.h"
#include "host/process.h"
#include "host/test_folder.h"
#include "image/open_image.h"
#include "vocab/numbers.h"

// For tests of formats: random changes of a disk and of a flat copy, and outside tools as witnesses.
namespace vireo::image::testing {

using Shadow = std::vector<std::byte>;

/// Runs a tool and yields what it prints; its failure fails the test.
inline std::string tool(std::vector<std::string> arguments) {
  auto const command = arguments.front();
  auto const result = host::run_process({.arguments = std::move(arguments),
                                         .output = host::Process::Stream::capture,
                                         .error = host::Process::Stream::capture});
  EXPECT_TRUE(result) << result.error().what();
  EXPECT_TRUE(result->status.success()) << command << ": " << result->output << result->error;
  return result->output;
}

inline std::unique_ptr<BlockImage> opened(std::string const& path, OpenOptions const& options = {}) {
  auto image = open_image(path, options);
  EXPECT_TRUE(image) << image.error().what();
  return image ? std::move(*image) : nullptr;
}

inline void write_file(std::string const& path, Shadow const& bytes) {
  auto const file = host::File::open(path, {.write = true, .create = true, .truncate = true});
  ASSERT_TRUE(file);
  ASSERT_TRUE(file->write(0, bytes));
}
inline Shadow file_bytes(std::string const& path) {
  auto const file = host::File::open(path, {});
  auto bytes = Shadow(*file->size());
  EXPECT_TRUE(file->read(0, bytes));
  return bytes;
}

inline void expect_same(BlockImage& image, Shadow const& shadow) {
  auto bytes = Shadow(shadow.size());
  auto const read = image.read(0, bytes);
  ASSERT_TRUE(read) << read.error().what();
  auto const different = std::ranges::mismatch(bytes, shadow);
  EXPECT_TRUE(different.in2 == shadow.end()) << "first difference at " << different.in2 - shadow.begin();
}
/// What qemu-img reads from the image is the flat copy.
inline void expect_qemu_reads(host::TestFolder const& folder, std::string const& path,
                              std::string const& format, Shadow const& shadow) {
  tool({"qemu-img", "convert", "-f", format, "-O", "raw", path, folder / "flat.raw"});
  auto const flat = file_bytes(folder / "flat.raw");
  ASSERT_EQ(flat.size(), shadow.size());
  auto const different = std::ranges::mismatch(flat, shadow);
  EXPECT_TRUE(different.in2 == shadow.end()) << "first difference at " << different.in2 - shadow.begin();
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

struct Changes {
  bool discard{true};  // discarded clusters read as zeroes
  u64 most{4};         // clusters changed at once
};

/// One random write, zeroing, discard or flush on both the image and its flat copy.
inline void change(BlockImage& image, Shadow& shadow, std::mt19937_64& random, Changes const& kinds = {}) {
  auto const cluster = u64{image.geometry().cluster};
  auto const at = random() % shadow.size() / 512 * 512;
  auto const length = std::min<u64>((random() % (kinds.most * cluster) / 512 + 1) * 512, shadow.size() - at);
  auto const part = Bytes{shadow}.subspan(at, length);
  auto kind = random() % 8;
  if (kind == 0 && !kinds.discard) kind = 1;
  switch (kind) {
    case 0: {
      auto const start = align_down(at, cluster);
      auto const end = std::min<u64>(align_up(at + length, cluster), shadow.size());
      auto const discarded = image.discard(start, end - start);
      ASSERT_TRUE(discarded) << discarded.error().what();
      std::ranges::fill(Bytes{shadow}.subspan(start, end - start), std::byte{0});
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
    default: {
      auto const bytes = noise(length, random);
      auto const written = image.write(at, bytes);
      ASSERT_TRUE(written) << written.error().what();
      std::ranges::copy(bytes, part.begin());
    }
  }
}

}  // namespace vireo::image::testing
