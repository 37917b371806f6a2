#include "image/bitmaps/sidecar.h"

#include <fmt/format.h>
#include <sys/stat.h>
#include <unistd.h>

#include <chrono>
#include <filesystem>
#include <thread>

#include "image/create_qcow2.h"
#include "image/operations/describe.h"
#include "image/qcow2/edit_header.h"
#include "image/qcow2/editor.h"

namespace vireo::image {
namespace {

constexpr u32 stamp_extension{0x56424d50};  // "VBMP": per file of the image size and time of its last change

u64 nanoseconds(timespec const& time) {
  return static_cast<u64>(time.tv_sec) * 1'000'000'000 + static_cast<u64>(time.tv_nsec);
}

/// A change in the same tick of the file system's clock would leave the time as it is.
void await_next_tick(u64 time) {
  for (auto tries = 0; tries < 100; ++tries) {
    auto now = timespec{};
    ::clock_gettime(CLOCK_REALTIME_COARSE, &now);
    if (nanoseconds(now) > time) return;
    std::this_thread::sleep_for(std::chrono::milliseconds{1});
  }
}

Result<std::vector<std::byte>> stamp_of(std::string const& image, std::string const& format) {
  auto stamp = std::vector<std::byte>{};
  auto newest = u64{0};
  for (auto const& name : TRY(describe_image(image, format)).files) {
    struct stat status{};
    if (::stat(name.c_str(), &status) != 0) return fail(Errc::not_found, name + ": is missing");
    if (!S_ISREG(status.st_mode)) {
      return fail(Errc::unsupported,
                  fmt::format("{}: is no file: others could write to it and nobody would notice", name));
    }
    auto const at = stamp.size();
    stamp.resize(at + 16);
    store_be<u64>(stamp.data() + at, static_cast<u64>(status.st_size));
    store_be<u64>(stamp.data() + at + 8, nanoseconds(status.st_mtim));
    newest = std::max(newest, nanoseconds(status.st_mtim));
  }
  await_next_tick(newest);
  return stamp;
}

Result<bool> is_current(Storage const& sidecar, qcow2::Header const& header, std::string const& image,
                        std::string const& format) {
  auto const known = TRY(qcow2::read_extension(sidecar, header, stamp_extension));
  auto const now = stamp_of(image, format);
  return known && now && *known == *now;
}

}  // namespace

std::string bitmap_sidecar(std::string const& path) { return path + ".bitmaps"; }

bool has_bitmap_sidecar(std::string const& path) { return ::access(bitmap_sidecar(path).c_str(), F_OK) == 0; }

Result<BitmapSidecar> BitmapSidecar::open(std::string const& image, std::string const& format) {
  auto storage =
      std::make_unique<Storage>(TRY(Storage::open(bitmap_sidecar(image), true, CacheMode::writeback)));
  TRY(storage->lock());
  auto header = TRY(qcow2::read_header(*storage));
  auto const bytes = TRY(describe_image(image, format)).bytes;
  if (header.size != bytes) {
    auto editor = TRY(qcow2::Editor::open(*storage));
    TRY(editor.resize(bytes));
    header = TRY(qcow2::read_header(*storage));
  }
  auto sidecar = BitmapSidecar{image, format, std::move(storage)};
  sidecar.bitmaps_ = TRY(qcow2::FileBitmaps::open(*sidecar.storage_, header));
  if (!TRY(is_current(*sidecar.storage_, header, image, format))) sidecar.bitmaps_->distrust();
  return sidecar;
}

Result<BitmapSidecar> BitmapSidecar::create(std::string const& image, std::string const& format) {
  auto const stamp = TRY(stamp_of(image, format));
  auto const bytes = TRY(describe_image(image, format)).bytes;
  TRY(create_qcow2(bitmap_sidecar(image), bytes));
  {
    auto const storage = TRY(Storage::open(bitmap_sidecar(image), true, CacheMode::writeback));
    auto edit = qcow2::HeaderEdit{};
    edit.extensions[stamp_extension] = stamp;
    TRY(qcow2::edit_header(storage, edit));
  }
  return open(image, format);
}

Result<> BitmapSidecar::write_stamp() const {
  auto edit = qcow2::HeaderEdit{};
  edit.extensions[stamp_extension] = TRY(stamp_of(image_, format_));
  return qcow2::edit_header(*storage_, edit);
}

Result<> BitmapSidecar::save() {
  if (bitmaps_->list().empty() && !bitmaps_->has_opaque()) {
    ::unlink(bitmap_sidecar(image_).c_str());
    return {};
  }
  auto const header = TRY(qcow2::read_header(*storage_));
  if (!TRY(is_current(*storage_, header, image_, format_))) {
    if (bitmaps_->unsaved()) TRY(bitmaps_->invalidate());  // until they are stored, below
    TRY(write_stamp());
  }
  return bitmaps_->save();
}

Result<std::vector<DirtyBitmap>> read_bitmap_sidecar(std::string const& image, std::string const& format) {
  auto const storage = TRY(Storage::open(bitmap_sidecar(image), false, CacheMode::writeback));
  auto const header = TRY(qcow2::read_header(storage));
  auto loaded = TRY(qcow2::load_bitmaps(storage, header));
  auto const current = TRY(is_current(storage, header, image, format));
  for (auto& each : loaded.bitmaps) each.inconsistent = each.inconsistent || !current;
  return std::move(loaded.bitmaps);
}

}  // namespace vireo::image
