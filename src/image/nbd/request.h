#pragma once

#include "image/nbd/spec.h"
#include "vocab/bytes.h"
#include "vocab/result.h"

namespace vireo::image::nbd {

struct Request {
  u16 flags{};
  Command command{};
  u64 cookie{};
  u64 offset{};
  u32 length{};

  bool has(u16 flag) const { return (flags & flag) != 0; }
};
/// `bytes` are request_bytes long. Errc::corrupt when they begin with something else.
Result<Request> parse_request(ConstBytes bytes);

/// What a request that cannot be carried out is answered with, or 0: ranges, flags, a disk for reading only.
u32 refusal(Request const& request, u64 disk_bytes, bool read_only);

u32 error_number_of(Errc code);
Errc errc_of_number(u32 number);

}  // namespace vireo::image::nbd
