#include <benchmark/benchmark.h>

#include <vector>

#include "image/jobs/live_disk.h"
#include "image/nbd/testing/memory_image.h"

namespace vireo::image {
namespace {

/// Answers at once: what is left is the cost of the way there.
class NoDisk final : public BlockImage {
 public:
  Geometry geometry() const override { return {.bytes = u64{1} << 30}; }
  Result<> read(u64, Bytes) override { return {}; }
  Result<> write(u64, ConstBytes) override { return {}; }
  Result<> write_zeroes(u64, u64, bool) override { return {}; }
  Result<> discard(u64, u64) override { return {}; }
  Result<> flush() override { return {}; }
  Result<Extent> extent_at(u64 at) override { return Extent{at, 512, Presence::data}; }
};

void bare(benchmark::State& state) {
  static auto disk = NoDisk{};
  static auto& image = static_cast<BlockImage&>(disk);
  auto const bytes = std::vector<std::byte>(4096);
  for (auto each : state) benchmark::DoNotOptimize(image.write(0, bytes));
}
BENCHMARK(bare)->Threads(1)->Threads(2);

void live(benchmark::State& state) {
  static auto const disk = LiveDisk::of(std::make_unique<NoDisk>());
  auto const bytes = std::vector<std::byte>(4096);
  for (auto each : state) benchmark::DoNotOptimize(disk->write(0, bytes));
}
BENCHMARK(live)->Threads(1)->Threads(2);

}  // namespace
}  // namespace vireo::image
