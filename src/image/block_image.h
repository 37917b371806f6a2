#pragma once

#include <memory>
#include <optional>
#include <string>
#include <string_view>

#include "vocab/bytes.h"
#include "vocab/numbers.h"
#include "vocab/result.h"

namespace vireo::image {

class DirtyBitmaps;

/// A virtual disk. Offsets and lengths are in bytes and come from a guest: out of range is Errc::invalid, never
/// an assert. Any thread may call, several at once; writes to the same bytes are not ordered against each
/// other.
class BlockImage {
 public:
  struct Geometry {
    u64 bytes{};
    u32 sector{512};     // logical sector, bytes
    u32 cluster{65536};  // allocation unit, bytes
    bool read_only{};
  };
  enum class Presence : u8 { data, zero, absent };  // absent: ask the layer below
  struct Extent {
    u64 start{};
    u64 length{};
    Presence presence{};
  };

  /// What lies in one piece of the file.
  struct Place {
    Extent extent{};
    std::optional<u64> offset{};  // in the file, if it lies there as it is
    bool hole{};                  // the file has a hole there
    std::string file{};           // if it is not the image's own
  };

  virtual ~BlockImage() = default;
  virtual Geometry geometry() const = 0;
  virtual Result<> read(u64 at, Bytes into) = 0;
  virtual Result<> write(u64 at, ConstBytes from) = 0;
  virtual Result<> write_zeroes(u64 at, u64 length, bool may_unmap) = 0;
  virtual Result<> discard(u64 at, u64 length) = 0;
  /// On return data and metadata of all finished writes are on stable storage.
  virtual Result<> flush() = 0;
  virtual Result<Extent> extent_at(u64 at) = 0;
  virtual Result<Place> place_at(u64 at) { return Place{.extent = TRY(extent_at(at))}; }
  /// The beginning of the range as it lies in memory, where a disk opened for reading has it there; else empty,
  /// and read() is the way. Valid as long as the image. Encrypted content has none.
  virtual ConstBytes view(u64 /*at*/, u64 /*length*/) { return {}; }
  /// Whole clusters; formats that pack write them packed.
  virtual Result<> write_compressed(u64 at, ConstBytes from) { return write(at, from); }
  /// Null: opened for reading, or not asked for.
  virtual DirtyBitmaps* dirty_bitmaps() { return nullptr; }
};

}  // namespace vireo::image
