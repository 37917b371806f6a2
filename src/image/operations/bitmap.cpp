#include "image/operations/bitmap.h"

#include <fmt/format.h>

#include <algorithm>

#include "image/bitmaps/sidecar.h"
#include "image/open_image.h"
#include "image/operations/describe.h"
#include "image/qcow2/editor.h"

namespace vireo::image {
namespace {

Result<BitmapTarget> with_format(BitmapTarget target) {
  if (target.format.empty()) target.format = TRY(probe_format(target.path));
  return target;
}

/// Runs act(bitmaps) with the disk's bitmaps and stores them; nobody may have the disk open.
template <typename Act>
Result<> edit(BitmapTarget const& target, bool may_create, Act act) {
  auto const storage = TRY(Storage::open(target.path, true, CacheMode::writeback));
  TRY(storage.lock());
  if (target.format == "qcow2") {
    auto const header = TRY(qcow2::read_header(storage));
    auto const bitmaps = TRY(qcow2::FileBitmaps::open(storage, header));
    TRY(act(*bitmaps));
    return bitmaps->save();
  }
  auto const there = has_bitmap_sidecar(target.path);
  if (!there && !may_create) return fail(Errc::not_found, target.path + ": has no bitmaps");
  auto sidecar = TRY(there ? BitmapSidecar::open(target.path, target.format)
                           : BitmapSidecar::create(target.path, target.format));
  auto const outcome = act(sidecar.bitmaps());
  if (!outcome && there) return outcome;
  TRY(sidecar.save());
  return outcome;
}

Result<u64> granularity_for(BitmapTarget const& target, u64 asked) {
  if (asked != 0) return asked;
  auto const cluster = TRY(describe_image(target.path, target.format)).cluster;
  return cluster == 0 ? DirtyBitmap::default_granularity
                      : std::clamp<u64>(cluster, 4096, DirtyBitmap::default_granularity);
}

}  // namespace

Result<std::vector<DirtyBitmap>> read_bitmaps(BitmapTarget const& asked) {
  auto const target = TRY(with_format(asked));
  if (target.format != "qcow2") {
    if (!has_bitmap_sidecar(target.path)) return std::vector<DirtyBitmap>{};
    return read_bitmap_sidecar(target.path, target.format);
  }
  auto const storage = TRY(Storage::open(target.path, false, CacheMode::writeback));
  auto const header = TRY(qcow2::read_header(storage));
  auto loaded = TRY(qcow2::load_bitmaps(storage, header));
  return std::move(loaded.bitmaps);
}

Result<DirtyBitmap> read_bitmap(BitmapTarget const& target, std::string const& name) {
  auto const all = TRY(read_bitmaps(target));
  auto const found = std::ranges::find(all, name, &DirtyBitmap::name);
  if (found == all.end()) return fail(Errc::not_found, fmt::format("Dirty bitmap '{}' not found", name));
  if (!found->inconsistent) return *found;
  return fail(Errc::corrupt,
              fmt::format("{}: bitmap '{}' is out of date: the disk was changed, and it was not told or not "
                          "stored; remove it and make a full backup",
                          target.path, name));
}

Result<> edit_bitmap(BitmapTarget const& asked, BitmapEdit const& request) {
  using enum BitmapEdit::Action;
  auto const target = TRY(with_format(asked));
  auto const granularity = request.action == add ? TRY(granularity_for(target, request.granularity)) : 0;
  auto const source_disk = request.source_disk.path.empty() ? target : request.source_disk;
  auto const source =
      request.action == merge ? std::optional{TRY(read_bitmap(source_disk, request.source))} : std::nullopt;
  return edit(target, request.action == add, [&](qcow2::FileBitmaps& bitmaps) -> Result<> {
    switch (request.action) {
      case add: return bitmaps.add(request.name, granularity);
      case remove: return bitmaps.drop(request.name);
      case clear: return bitmaps.clear(request.name);
      case enable: return bitmaps.enable(request.name, true);
      case disable: return bitmaps.enable(request.name, false);
      case merge: return bitmaps.merge(request.name, *source);
    }
    return {};
  });
}

Result<> add_bitmaps(BitmapTarget const& asked, std::vector<DirtyBitmap> bitmaps) {
  if (bitmaps.empty()) return {};
  auto const target = TRY(with_format(asked));
  return edit(target, true, [&](qcow2::FileBitmaps& all) -> Result<> {
    for (auto& each : bitmaps) TRY(all.add(std::move(each)));
    return {};
  });
}

Result<KeptBitmaps> KeptBitmaps::begin(BitmapTarget target) {
  auto kept = KeptBitmaps{};
  kept.target_ = TRY(with_format(std::move(target)));
  // Bitmaps that cannot be read must not stand in the way.
  kept.bitmaps_ = read_bitmaps(kept.target_).value_or(std::vector<DirtyBitmap>{});
  std::erase_if(kept.bitmaps_, [](DirtyBitmap const& each) { return each.inconsistent; });
  return kept;
}

Result<> KeptBitmaps::finish() const {
  if (bitmaps_.empty()) return {};
  auto const bytes = TRY(describe_image(target_.path, target_.format)).bytes;
  auto lost = bitmaps_;
  for (auto& each : lost) each.resize(bytes);
  if (target_.format != "qcow2") {
    auto sidecar = TRY(BitmapSidecar::open(target_.path, target_.format));
    sidecar.bitmaps().restore(std::move(lost));
    return sidecar.save();
  }
  auto const now = TRY(read_bitmaps(target_));
  std::erase_if(lost, [&](DirtyBitmap const& each) {
    return std::ranges::find(now, each.name(), &DirtyBitmap::name) != now.end();
  });
  return add_bitmaps(target_, std::move(lost));
}

}  // namespace vireo::image
