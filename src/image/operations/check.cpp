#include "image/operations/check.h"

#include <fmt/format.h>

#include <algorithm>

#include "image/formats.h"
#include "image/open_image.h"
#include "image/operations/bitmap.h"
#include "vocab/numbers.h"

namespace vireo::image {
namespace {

constexpr std::size_t most_findings{1000};
constexpr u64 grain{4096};      // of holes in files
constexpr u64 crumb{64 * KiB};  // beside tables less than this is no block that was lost

struct Checker {
  Storage const& storage;
  Placement& placement;
  Repair repair;
  CheckReport report{};

  Result<> refuse(PlacedBlock const& block, std::string_view what) {
    report.corruption(fmt::format("block {} lies at offset {:#x}, {}", block.number, block.at, what));
    if (repair != Repair::all) return {};
    TRY(placement.clear(block.number));
    ++report.corruptions_fixed;
    return {};
  }

  /// Leaves the blocks that may stay, in order of place.
  Result<> sift() {
    auto& blocks = placement.blocks;
    auto& metadata = placement.metadata;
    std::ranges::sort(metadata, {}, &PlacedBlock::at);
    std::ranges::stable_sort(blocks, {}, &PlacedBlock::at);
    auto kept = std::vector<PlacedBlock>{};
    for (auto const& block : blocks) {
      auto const end = block.at + block.length;
      auto const hit = std::ranges::upper_bound(metadata, end - 1, {}, &PlacedBlock::at);
      auto const on_metadata = std::any_of(
          metadata.begin(), hit, [&](PlacedBlock const& each) { return each.at + each.length > block.at; });
      if (block.at < placement.first || end > placement.end || end < block.at) {
        TRY(refuse(block, "outside the file"));
      } else if (on_metadata) {
        TRY(refuse(block, "on metadata"));
      } else if (!kept.empty() && block.at < kept.back().at + kept.back().length) {
        TRY(refuse(block, fmt::format("where block {} lies", kept.back().number)));
      } else {
        kept.push_back(block);
      }
    }
    blocks = std::move(kept);
    return {};
  }

  Result<> gap(u64 from, u64 to) {
    for (auto at = from; at < to;) {
      auto const extent = TRY(storage.extent_at(at));
      auto const end = extent.length == 0 ? to : std::min(to, at + extent.length);
      auto const start = align_up(at, grain);
      auto const stop = align_down(end, grain);
      auto const counts = start < stop && stop - start >= std::min(placement.unit, crumb);
      if (extent.data && extent.length != 0 && counts) TRY(lost(start, stop));
      at = end;
    }
    return {};
  }
  Result<> lost(u64 from, u64 to) {
    auto const clusters = (to - from + placement.unit - 1) / placement.unit;
    report.leaks += clusters - 1;
    report.leak(fmt::format("{} bytes at offset {:#x} take space, and no block lies there", to - from, from));
    if (repair == Repair::none) return {};
    TRY(storage.discard(from, to - from));
    report.leaks_fixed += clusters;
    return {};
  }

  Result<CheckReport> run() {
    report.total = placement.total;
    TRY(sift());
    auto used = placement.blocks;
    used.insert(used.end(), placement.metadata.begin(), placement.metadata.end());
    std::ranges::sort(used, {}, &PlacedBlock::at);
    auto at = placement.first;
    for (auto const& each : used) {
      if (each.at > at) TRY(gap(at, std::min(each.at, placement.end)));
      at = std::max(at, each.at + each.length);
    }
    report.end = at;
    if (at < placement.end) TRY(gap(at, placement.end));
    count();
    if (repair != Repair::none) TRY(storage.sync());
    return std::move(report);
  }
  void count() {
    auto& blocks = placement.blocks;
    report.allocated = blocks.size();
    std::ranges::sort(blocks, {}, &PlacedBlock::number);
    for (auto index = std::size_t{1}; index < blocks.size(); ++index) {
      auto const& before = blocks[index - 1];
      auto const next = blocks[index].number == before.number + 1;
      if (next && blocks[index].at != before.at + before.length) ++report.fragmented;
    }
  }
};

}  // namespace

void CheckReport::note(std::string text) {
  if (findings.size() < most_findings) findings.push_back(std::move(text));
}
void CheckReport::corruption(std::string text) {
  ++corruptions;
  note("ERROR " + std::move(text));
}
void CheckReport::leak(std::string text) {
  ++leaks;
  note("Leaked: " + std::move(text));
}

void CheckReport::stale(std::string text) {
  ++leaks;
  note("Stale: " + std::move(text));
}

Result<CheckReport> check_placement(Storage const& storage, Placement placement, Repair repair) {
  return Checker{storage, placement, repair}.run();
}

Result<CheckReport> check_image(std::string const& path, std::string const& format, Repair repair) {
  auto const name = format.empty() ? TRY(probe_format(path)) : format;
  auto const* const record = find_format(name);
  if (record == nullptr) return fail(Errc::invalid, "image format '" + name + "' is not known");
  if (record->check == nullptr) {
    return fail(Errc::unsupported, fmt::format("{}: format {} has no tables to check", path, name));
  }
  auto const look = [&]() -> Result<CheckReport> {
    auto const storage = TRY(Storage::open(path, repair != Repair::none, CacheMode::writeback));
    TRY(storage.lock());
    return record->check(storage, repair);
  };
  if (repair == Repair::none) return look();
  auto const bitmaps = TRY(KeptBitmaps::begin({path, name}));
  auto report = TRY(look());
  // Mending damage changes what the disk holds.
  if (report.corruptions_fixed == 0) TRY(bitmaps.finish());
  return report;
}

}  // namespace vireo::image
