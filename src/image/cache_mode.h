#pragma once

#include "vocab/integers.h"

namespace vireo::image {

/// How writes reach the disk; names and meaning as users know them from other hypervisors.
enum class CacheMode : u8 {
  writeback,     // host page cache; durable after flush
  none,          // O_DIRECT; durable after flush
  writethrough,  // host page cache; each write is durable when it returns
  directsync,    // O_DIRECT; each write is durable when it returns
  unsafe,        // flush does nothing: for what may be lost
};
constexpr bool is_direct(CacheMode mode) { return mode == CacheMode::none || mode == CacheMode::directsync; }
constexpr bool syncs_each_write(CacheMode mode) {
  return mode == CacheMode::writethrough || mode == CacheMode::directsync;
}

}  // namespace vireo::image
