#pragma once

#include <bit>
#include <cstring>
#include <span>

#include "vocab/integers.h"

namespace vireo {

using Bytes = std::span<std::byte>;
using ConstBytes = std::span<std::byte const>;

static_assert(std::endian::native == std::endian::little, "x86-64 hosts only: plain copies are little-endian");

/// A little-endian value at any alignment. The caller has checked that `from` holds sizeof(T) bytes.
template <typename T>
T load_le(void const* from) {
  T value;
  std::memcpy(&value, from, sizeof value);
  return value;
}
template <typename T>
void store_le(void* to, T value) {
  std::memcpy(to, &value, sizeof value);
}
/// Big-endian forms, for formats and network headers.
template <typename T>
T load_be(void const* from) {
  auto value = load_le<T>(from);
  if constexpr (sizeof(T) == 2) value = static_cast<T>(__builtin_bswap16(static_cast<u16>(value)));
  if constexpr (sizeof(T) == 4) value = static_cast<T>(__builtin_bswap32(static_cast<u32>(value)));
  if constexpr (sizeof(T) == 8) value = static_cast<T>(__builtin_bswap64(static_cast<u64>(value)));
  return value;
}
template <typename T>
void store_be(void* to, T value) {
  store_le<T>(to, load_be<T>(&value));
}

}  // namespace vireo
