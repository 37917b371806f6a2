#pragma once

#include <functional>

#include "device/virtio/net/spec.h"
#include "vocab/bytes.h"

namespace vireo::device::virtio {

/// Does what the driver left to the device (5.1.6.2): completes the checksum and cuts TCP segments to size,
/// then calls `emit` with each finished frame. False, without emitting: the header does not fit the frame.
/// `frame` may be changed.
bool finish_frame(spec::NetHeader const& header, Bytes frame, std::function<void(ConstBytes)> const& emit);

/// Whether the frame is TCP or UDP in one whole IP packet, with a right checksum.
bool checksum_is_valid(ConstBytes frame);

}  // namespace vireo::device::virtio
