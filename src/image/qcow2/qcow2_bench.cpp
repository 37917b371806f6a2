#include <benchmark/benchmark.h>

#include <random>

#include "host/file.h"
#include "host/test_folder.h"
#include "image/create_qcow2.h"
#include "image/open_image.h"

// What a format costs over the page cache: random 4 KiB accesses, the same on raw and qcow2.
namespace vireo::image {
namespace {

constexpr u64 disk_bytes{u64{256} << 20};

std::unique_ptr<BlockImage> filled_image(host::TestFolder const& folder, std::string const& format) {
  auto const path = folder / "disk";
  if (format == "qcow2") {
    static_cast<void>(create_qcow2(path, disk_bytes));
  } else {
    static_cast<void>(host::File::open(path, {.write = true, .create = true})->truncate(disk_bytes));
  }
  auto image = *open_image(path, {.format = format});
  auto const block = std::vector<std::byte>(1 << 20, std::byte{1});
  for (auto at = u64{0}; at < disk_bytes; at += block.size()) static_cast<void>(image->write(at, block));
  static_cast<void>(image->flush());
  return image;
}

void random_4k(benchmark::State& state, std::string const& format, bool writes) {
  auto const folder = host::TestFolder{};
  auto const image = filled_image(folder, format);
  auto random = std::mt19937_64{1};
  auto block = std::vector<std::byte>(4096, std::byte{2});
  for (auto _ : state) {
    auto const at = random() % (disk_bytes / 4096) * 4096;
    auto const done = writes ? image->write(at, block) : image->read(at, block);
    if (!done) state.SkipWithError(done.error().what().c_str());
  }
}

BENCHMARK_CAPTURE(random_4k, read_raw, "raw", false);
BENCHMARK_CAPTURE(random_4k, read_qcow2, "qcow2", false);
BENCHMARK_CAPTURE(random_4k, write_raw, "raw", true);
BENCHMARK_CAPTURE(random_4k, write_qcow2, "qcow2", true);

}  // namespace
}  // namespace vireo::image
