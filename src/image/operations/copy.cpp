#include "image/operations/copy.h"

#include <algorithm>
#include <atomic>
#include <mutex>
#include <optional>
#include <thread>
#include <vector>

#include "image/operations/stretches.h"
#include "vocab/numbers.h"

namespace vireo::image {
namespace {

constexpr u64 piece_bytes{2 * MiB};
constexpr u64 grain{4096};

Result<> make_equal(BlockImage& from, BlockImage& to, u64 at, u64 length) {
  auto wanted = std::vector<std::byte>(length);
  auto present = std::vector<std::byte>(length);
  TRY(read_padded(from, at, wanted));
  TRY(to.read(at, present));
  if (wanted == present) return {};
  return for_each_kind(wanted, grain, [&](u64 start, u64 bytes, bool zero) -> Result<> {
    auto const part = ConstBytes{wanted}.subspan(start, bytes);
    if (std::ranges::equal(part, ConstBytes{present}.subspan(start, bytes))) return {};
    return zero ? to.write_zeroes(at + start, bytes, true) : to.write(at + start, part);
  });
}

/// How far both are known to be zeroes from here.
Result<u64> both_zero(BlockImage& from, BlockImage& to, u64 at) {
  auto const zeroes = [&](BlockImage& image) -> Result<u64> {
    if (at >= image.geometry().bytes) return ~u64{0};
    auto const extent = TRY(image.extent_at(at));
    return extent.presence == BlockImage::Presence::zero ? extent.length : 0;
  };
  return std::min(TRY(zeroes(from)), TRY(zeroes(to)));
}

}  // namespace

Result<> in_pieces(u64 bytes, u64 piece, u32 jobs, Report const& report,
                   std::function<Result<>(u64 at, u64 length)> const& work) {
  auto next = std::atomic<u64>{0};
  auto done = std::atomic<u64>{0};
  auto mutex = std::mutex{};
  auto failure = std::optional<Error>{};
  auto stop = std::atomic<bool>{false};
  auto const run = [&] {
    while (!stop) {
      auto const at = next.fetch_add(piece);
      if (at >= bytes) return;
      auto const length = std::min(piece, bytes - at);
      auto outcome = work(at, length);
      auto const lock = std::lock_guard{mutex};
      if (!outcome) {
        if (!failure) failure = std::move(outcome).error();
        stop = true;
        return;
      }
      done += length;
      if (report) report({done, bytes});
    }
  };
  auto threads = std::vector<std::jthread>{};
  for (auto number = u32{1}; number < std::min(jobs, u32{64}); ++number) threads.emplace_back(run);
  run();
  threads.clear();
  if (failure) return std::unexpected{*std::move(failure)};
  return {};
}

Result<> copy_differences(BlockImage& from, BlockImage& to) {
  auto const bytes = to.geometry().bytes;
  for (auto at = u64{0}; at < bytes;) {
    auto const quick = TRY(both_zero(from, to, at));
    if (quick != 0) {
      at += std::min(quick, bytes - at);
      continue;
    }
    auto const length = std::min(piece_bytes - at % piece_bytes, bytes - at);
    TRY(make_equal(from, to, at, length));
    at += length;
  }
  return {};
}

}  // namespace vireo::image
