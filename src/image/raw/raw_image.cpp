#include <algorithm>

#include "image/check_range.h"
#include "image/formats.h"
#include "image/raw/raw_format.h"
#include "image/raw/raw_operations.h"
#include "vocab/numbers.h"

namespace vireo::image::raw {
namespace {

constexpr u64 sector{512};

/// The file's bytes are the disk's bytes. A size that is no multiple of 512 is rounded up with zeroes.
class RawImage final : public BlockImage {
 public:
  RawImage(Storage storage, u64 bytes, bool probed)
      : storage_{std::move(storage)}, bytes_{align_up(bytes, sector)}, probed_{probed} {}

  Geometry geometry() const override {
    return {.bytes = bytes_, .sector = sector, .cluster = 4096, .read_only = !storage_.writable()};
  }
  Result<> read(u64 at, Bytes into) override {
    TRY(check_range(storage_.path(), at, into.size(), bytes_));
    return storage_.read(at, into);
  }
  ConstBytes view(u64 at, u64 length) override { return storage_.view(at, length); }
  Result<> write(u64 at, ConstBytes from) override {
    TRY(storage_.check_write(at, from.size(), bytes_));
    if (probed_ && at < sector) TRY(check_first_sector(at, from));
    TRY(storage_.write(at, from));
    return storage_.finish_write();
  }
  Result<> write_zeroes(u64 at, u64 length, bool may_unmap) override {
    TRY(storage_.check_write(at, length, bytes_));
    TRY(storage_.write_zeroes(at, length, may_unmap));
    return storage_.finish_write();
  }
  Result<> discard(u64 at, u64 length) override {
    TRY(storage_.check_write(at, length, bytes_));
    return storage_.discard(at, length);
  }
  Result<> flush() override { return storage_.sync(); }
  Result<Extent> extent_at(u64 at) override {
    TRY(check_range(storage_.path(), at, 1, bytes_));
    auto const extent = TRY(storage_.extent_at(at));
    if (extent.length == 0) return Extent{at, bytes_ - at, Presence::zero};  // the rounded end
    return Extent{at, extent.length, extent.data ? Presence::data : Presence::zero};
  }

  Result<Place> place_at(u64 at) override { return Place{TRY(extent_at(at)), at}; }

 private:
  /// Else a guest could give its disk the header of a format with a backing file, and read any file of the
  /// host's at the next start.
  Result<> check_first_sector(u64 at, ConstBytes from) const {
    auto head = std::vector<std::byte>(sector);
    TRY(storage_.read(0, head));
    std::ranges::copy(from.first(std::min<u64>(from.size(), sector - at)),
                      head.begin() + static_cast<std::ptrdiff_t>(at));
    for (auto const* other : image_formats()) {
      if (other != &format && other->probe(head)) {
        return fail(Errc::denied,
                    fmt::format("{}: the guest writes a {} header to a disk whose format was guessed; "
                                "state format: raw to allow it",
                                storage_.path(), other->name));
      }
    }
    return {};
  }

  Storage storage_;
  u64 bytes_;
  bool probed_;
};

Result<std::unique_ptr<BlockImage>> open(Storage storage, OpenContext context) {
  auto const bytes = TRY(storage.size());
  return std::make_unique<RawImage>(std::move(storage), bytes, context.probed);
}

}  // namespace

ImageFormat const format{.name = "raw",
                         .probe = [](ConstBytes) { return true; },
                         .open = open,
                         .create = create,
                         .describe = describe,
                         .find_parent = nullptr,
                         .check = nullptr,
                         .resize = resize,
                         .set_parent = nullptr};

}  // namespace vireo::image::raw
