#include "image/vhd/fixed_vhd_image.h"

#include <algorithm>

#include "image/check_range.h"

namespace vireo::image::vhd {
namespace {

class FixedVhdImage final : public BlockImage {
 public:
  FixedVhdImage(Storage storage, u64 bytes) : storage_{std::move(storage)}, bytes_{bytes} {}

  Geometry geometry() const override {
    return {.bytes = bytes_, .sector = 512, .cluster = 4096, .read_only = !storage_.writable()};
  }
  Result<> read(u64 at, Bytes into) override {
    TRY(check_range(storage_.path(), at, into.size(), bytes_));
    return storage_.read(at, into);
  }
  Result<> write(u64 at, ConstBytes from) override {
    TRY(storage_.check_write(at, from.size(), bytes_));
    TRY(storage_.write(at, from));
    return storage_.finish_write();
  }
  Result<> write_zeroes(u64 at, u64 length, bool may_unmap) override {
    TRY(storage_.check_write(at, length, bytes_));
    if (length == 0) return {};
    TRY(storage_.write_zeroes(at, length, may_unmap));
    return storage_.finish_write();
  }
  Result<> discard(u64 at, u64 length) override {
    TRY(storage_.check_write(at, length, bytes_));
    return length == 0 ? Result<>{} : storage_.discard(at, length);
  }
  Result<> flush() override { return storage_.sync(); }
  Result<Extent> extent_at(u64 at) override {
    TRY(check_range(storage_.path(), at, 1, bytes_));
    auto const extent = TRY(storage_.extent_at(at));
    return Extent{at, std::min(extent.length, bytes_ - at), extent.data ? Presence::data : Presence::zero};
  }

  Result<Place> place_at(u64 at) override { return Place{TRY(extent_at(at)), at}; }

 private:
  Storage storage_;
  u64 bytes_;
};

}  // namespace

Result<std::unique_ptr<BlockImage>> open_fixed(Storage storage, Footer const& footer) {
  auto const there = TRY(storage.size()) - footer_bytes;
  if (footer.bytes > there) {
    return fail(Errc::corrupt,
                fmt::format("{}: vhd footer: current size (at offset {:#x}) is {:#x}, but the file "
                            "holds {:#x} bytes",
                            storage.path(), there + footer_at::current_size, footer.bytes, there));
  }
  return std::make_unique<FixedVhdImage>(std::move(storage), footer.bytes);
}

}  // namespace vireo::image::vhd
