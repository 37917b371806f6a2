#pragma once

#include <optional>
#include <string>
#include <vector>

#include "vocab/bytes.h"
#include "vocab/integers.h"
#include "vocab/result.h"

namespace vireo::image {

/// What a bitmap says about itself.
struct BitmapInfo {
  std::string name;
  u64 granularity{};    // bytes of the disk for each bit
  bool enabled{};       // changes are recorded
  bool inconsistent{};  // was not saved after changes, or those who made them did not know it: good for nothing
  u64 dirty_bytes{};
};

struct DirtyRange {
  u64 start{};
  u64 length{};
};

/// One bit for each `granularity` bytes of a disk: changed since. Not for several threads at once.
class DirtyBitmap {
 public:
  static constexpr u32 smallest_granularity_bits{9}, largest_granularity_bits{31};
  static constexpr u64 longest_name{1023};
  static constexpr u64 default_granularity{65536};
  /// Errc::invalid for a name or a granularity that cannot be.
  static Result<DirtyBitmap> create(std::string name, u64 bytes, u64 granularity = default_granularity);

  std::string const& name() const { return name_; }
  u64 bytes() const { return bytes_; }  // of the disk
  u32 granularity_bits() const { return granularity_bits_; }
  u64 granularity() const { return u64{1} << granularity_bits_; }
  bool enabled{true};
  bool inconsistent{};

  void mark(u64 at, u64 length);
  void mark_all();
  void clear();
  /// Whole granules; `at` and the end lie on their bounds, or on the disk's end.
  void clear(u64 at, u64 length);
  /// What a longer disk has more counts as changed.
  void resize(u64 bytes);
  /// Marks what is marked in the other, whatever its granularity.
  void merge(DirtyBitmap const& other);
  /// The first range marked at or behind `from`, cut to the disk.
  std::optional<DirtyRange> next(u64 from) const;
  std::vector<DirtyRange> ranges() const;
  BitmapInfo info() const;

  u64 bits() const { return (bytes_ + granularity() - 1) >> granularity_bits_; }
  u64 byte_count() const { return (bits() + 7) / 8; }
  /// As files keep it: bit n in byte n / 8, from its lowest bit on. Bits behind the disk's end are left out.
  void load(u64 first_byte, ConstBytes from);
  void store(u64 first_byte, Bytes into) const;

 private:
  DirtyBitmap(std::string name, u64 bytes, u32 granularity_bits);
  bool bit(u64 index) const { return (words_[index / 64] >> index % 64 & 1) != 0; }
  void mark_bits(u64 first, u64 end);
  u64 find(u64 from, bool value) const;
  void cut();

  std::string name_;
  u64 bytes_{};
  u32 granularity_bits_{};
  std::vector<u64> words_;
};

}  // namespace vireo::image
