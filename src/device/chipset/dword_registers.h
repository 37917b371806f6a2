#pragma once

#include <algorithm>

#include "vocab/integers.h"

namespace vireo::device {

/// Reads `width` bytes at any offset from registers of 32 bits: `read(offset)` yields one.
u64 read_dwords(u64 offset, u8 width, auto&& read) {
  auto value = u64{0};
  for (auto done = u32{0}; done < width;) {
    auto const skip = (offset + done) & 3;
    auto const taken = std::min<u64>(4 - skip, width - done);
    auto const mask = (u64{1} << (8 * taken)) - 1;
    value |= ((u64{read(offset + done - skip)} >> (8 * skip)) & mask) << (8 * done);
    done += static_cast<u32>(taken);
  }
  return value;
}

/// Writes them: `write(offset, value, mask)`, where set mask bits are the bytes that the access covers.
void write_dwords(u64 offset, u8 width, u64 value, auto&& write) {
  for (auto done = u32{0}; done < width;) {
    auto const skip = (offset + done) & 3;
    auto const taken = std::min<u64>(4 - skip, width - done);
    auto const mask = (u64{1} << (8 * taken)) - 1;
    write(offset + done - skip, static_cast<u32>(((value >> (8 * done)) & mask) << (8 * skip)),
          static_cast<u32>(mask << (8 * skip)));
    done += static_cast<u32>(taken);
  }
}

}  // namespace vireo::device
