#include "image/nbd/export.h"

#include <algorithm>

namespace vireo::image::nbd {

/// Several connections see one image, whose flush covers the finished writes of all: that is what multi_conn
/// promises.
u16 Export::transmission_flags() const {
  using namespace transmission_flag;
  auto const reading = has_flags | send_flush | send_df | can_multi_conn;
  auto const writing = send_fua | send_trim | send_write_zeroes;
  return static_cast<u16>(read_only ? reading | transmission_flag::read_only : reading | writing);
}

Result<Status> status_at(Export const& served, u32 context, u64 at, u64 length) {
  if (context != 0) return served.contexts.at(context - 1).status_at(at, length);
  auto const extent = TRY(served.image->extent_at(served.offset + at));
  // What a layer below holds counts as data.
  auto const zero = extent.presence == BlockImage::Presence::zero;
  return Status{std::min(extent.length, length), zero ? state_flag::hole | state_flag::zero : 0};
}

}  // namespace vireo::image::nbd
