#include "image/vmdk/flat_extent.h"

#include <fmt/format.h>

#include <algorithm>

#include "image/check_range.h"

namespace vireo::image::vmdk {

BlockImage::Geometry FlatExtent::geometry() const {
  return {.bytes = bytes_, .sector = 512, .cluster = 4096, .read_only = !storage_->writable()};
}
Result<> FlatExtent::check_write(u64 at, u64 length) const { return storage_->check_write(at, length, bytes_); }
Result<> FlatExtent::read(u64 at, Bytes into) {
  TRY(check_range(storage_->path(), at, into.size(), bytes_));
  return storage_->read(offset_ + at, into);
}
Result<> FlatExtent::write(u64 at, ConstBytes from) {
  TRY(check_write(at, from.size()));
  TRY(storage_->write(offset_ + at, from));
  return storage_->finish_write();
}
Result<> FlatExtent::write_zeroes(u64 at, u64 length, bool may_unmap) {
  TRY(check_write(at, length));
  TRY(storage_->write_zeroes(offset_ + at, length, may_unmap));
  return storage_->finish_write();
}
Result<> FlatExtent::discard(u64 at, u64 length) {
  TRY(check_write(at, length));
  return storage_->discard(offset_ + at, length);
}
Result<BlockImage::Extent> FlatExtent::extent_at(u64 at) {
  TRY(check_range(storage_->path(), at, 1, bytes_));
  auto const extent = TRY(storage_->extent_at(offset_ + at));
  if (extent.length == 0) return Extent{at, bytes_ - at, Presence::zero};
  return Extent{at, std::min(extent.length, bytes_ - at), extent.data ? Presence::data : Presence::zero};
}

Result<> ZeroExtent::read(u64 at, Bytes into) {
  TRY(check_range(path_, at, into.size(), bytes_));
  std::ranges::fill(into, std::byte{0});
  return {};
}
Result<> ZeroExtent::denied() const {
  return fail(Errc::denied, fmt::format("{}: VMDK: a ZERO extent is not written to", path_));
}

}  // namespace vireo::image::vmdk
