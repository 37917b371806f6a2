#include "image/operations/snapshot.h"

#include <unistd.h>

#include <chrono>
#include <filesystem>

#include "image/create_qcow2.h"
#include "image/open_image.h"
#include "image/operations/copy.h"
#include "image/operations/resize.h"
#include "image/qcow2/editor.h"

namespace vireo::image {
namespace {

struct Place {
  std::string format;
  std::string file;  // that holds the snapshots
  bool sidecar{};
  bool there{};
};

Result<Place> place_of(SnapshotTarget const& target) {
  auto place = Place{.format = target.format.empty() ? TRY(probe_format(target.path)) : target.format};
  auto const description = TRY(describe_image(target.path, place.format));
  // A qcow2 image whose disk lies in another file holds no snapshots.
  place.sidecar = place.format != "qcow2" || !description.data_file.empty();
  if (place.sidecar && description.encrypted) {
    return fail(Errc::unsupported, target.path +
                                       ": is encrypted, and its snapshots would lie beside it in the clear; "
                                       "an encrypted qcow2 image holds its own");
  }
  place.file = place.sidecar ? snapshot_sidecar(target.path) : target.path;
  place.there = std::filesystem::exists(place.file);
  return place;
}

template <typename Act>
Result<> edit(std::string const& path, Act act) {
  auto const storage = TRY(Storage::open(path, true, CacheMode::writeback));
  TRY(storage.lock());
  auto editor = TRY(qcow2::Editor::open(storage));
  return act(editor);
}

Result<> snapshot_now(std::string const& path, std::string const& name) {
  auto const now = std::chrono::system_clock::now().time_since_epoch();
  auto const seconds = std::chrono::floor<std::chrono::seconds>(now);
  auto const rest = std::chrono::duration_cast<std::chrono::nanoseconds>(now - seconds);
  return edit(path, [&](qcow2::Editor& editor) {
    return editor.create_snapshot(name, static_cast<u64>(seconds.count()), static_cast<u32>(rest.count()));
  });
}

/// The sidecar's own disk becomes what the image holds.
Result<> follow_image(SnapshotTarget const& target, Place const& place) {
  auto const image = TRY(open_image(
      target.path, {.format = place.format, .read_only = true, .follow_references = target.follow_references}));
  auto const bytes = image->geometry().bytes;
  if (!place.there) TRY(create_qcow2(place.file, bytes));
  if (TRY(describe_image(place.file, "qcow2")).bytes != bytes) {
    TRY(resize_image({.path = place.file, .format = "qcow2", .bytes = bytes, .shrink = true}));
  }
  auto const sidecar = TRY(open_image(place.file, {.format = "qcow2"}));
  TRY(copy_differences(*image, *sidecar));
  return sidecar->flush();
}

}  // namespace

std::string snapshot_sidecar(std::string const& path) { return path + ".snapshots"; }

Result<std::vector<SnapshotInfo>> list_snapshots(SnapshotTarget const& target) {
  auto const place = TRY(place_of(target));
  if (!place.there) return std::vector<SnapshotInfo>{};
  return TRY(describe_image(place.file, "qcow2")).snapshots;
}

Result<> create_snapshot(SnapshotTarget const& target, std::string const& name) {
  auto const place = TRY(place_of(target));
  if (place.sidecar) TRY(follow_image(target, place));
  return snapshot_now(place.file, name);
}

Result<> apply_snapshot(SnapshotTarget const& target, std::string const& which) {
  auto const place = TRY(place_of(target));
  if (!place.sidecar) {
    return edit(place.file, [&](qcow2::Editor& editor) { return editor.apply_snapshot(which); });
  }
  if (!place.there) return fail(Errc::not_found, target.path + ": has no snapshots");
  auto const then = TRY(open_image(place.file, {.format = "qcow2", .snapshot = which}));
  auto const bytes = then->geometry().bytes;
  if (TRY(describe_image(target.path, place.format)).bytes != bytes) {
    TRY(resize_image({.path = target.path,
                      .format = place.format,
                      .bytes = bytes,
                      .shrink = true,
                      .follow_references = target.follow_references}));
  }
  auto const image =
      TRY(open_image(target.path, {.format = place.format, .follow_references = target.follow_references}));
  TRY(copy_differences(*then, *image));
  return image->flush();
}

Result<> delete_snapshot(SnapshotTarget const& target, std::string const& which) {
  auto const place = TRY(place_of(target));
  if (!place.there) return fail(Errc::not_found, target.path + ": has no snapshots");
  auto left = std::size_t{0};
  auto const outcome = edit(place.file, [&](qcow2::Editor& editor) {
    auto deleted = editor.delete_snapshot(which);
    left = editor.snapshots().size();
    return deleted;
  });
  if (outcome && place.sidecar && left == 0) ::unlink(place.file.c_str());
  return outcome;
}

}  // namespace vireo::image
